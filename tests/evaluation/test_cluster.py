"""Work shared between two workers of a local Ray cluster: the same results, also where one is killed or all stopped."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from segcore.cli import main
from segcore.errors import ClusterError, UsageError
from segcore.evaluation import evaluate
from segcore.evaluation.evaluate import Run
from segcore.evaluation.protocols import Protocol, protocol
from segcore.evaluation.ray_cluster import Cluster, import_ray
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.models import loading
from segcore.truth.layouts import open_dataset
from tests.helpers.samples import ASTRONAUT, CAT, LIFEBOAT, NINE, OFFICER, PIZZA, RIDERS
from tests.helpers.voc_folder import boxes, label_file, write_voc

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHIPPED = "deeplabv3_mobilenet_v2"


@pytest.fixture(scope="module")
def losses():
    """What was told of lost workers."""
    return []


@pytest.fixture(scope="module")
def cluster(losses):
    """Two workers of one thread each, however many processors there are."""
    pytest.importorskip("ray")
    ray = import_ray(local=True)
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)  # 3 // 2 is one thread for each
    options = {"device": "cpu", "precision": "float32", "refine": "edges"}
    with Cluster(SHIPPED, **options, workers=2, on_lost=losses.append) as running:
        yield running
    ray.shutdown()


@pytest.fixture(scope="module")
def segmenter():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Segmenter(SHIPPED, device="cpu", precision="float32", refine="edges")
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def expected(segmenter, nine_coco):
    """What a local run makes of the examples."""
    return record_of(make_run(segmenter, nine_coco))


@pytest.fixture
def damaged_coco(nine_coco, tmp_path):
    """The samples without one photograph, with one that is cut short and one of the wrong size."""
    folder = tmp_path / "coco"
    for part in ("annotations", "samples"):
        shutil.copytree(nine_coco / part, folder / part)
    (folder / "samples" / "000000900002.jpg").unlink()
    cut = folder / "samples" / "000000900004.jpg"
    cut.write_bytes(cut.read_bytes()[:5000])
    shutil.copy(folder / "samples" / "000000900005.jpg", folder / "samples" / "000000160012.jpg")
    return folder


def make_run(segmenter, folder, name="report", task=Task(), batch_size=1):  # noqa: B008 (it is frozen)
    dataset = open_dataset(folder)
    return Run(segmenter, dataset, protocol(name), task, dataset.images, batch_size)


def record_of(run, **options):
    record = evaluate.evaluate(run, **options).to_dict()
    del record["seconds"]
    return record


@pytest.mark.parametrize(
    ("name", "task", "batch_size"), [("original", Task(), 1), ("torchvision", Task("binary", "person", 0.4), 4)]
)
def test_scores_are_those_of_a_local_run(cluster, segmenter, damaged_coco, name, task, batch_size):
    here = record_of(make_run(segmenter, damaged_coco, name, task, batch_size))
    seen, progress = [], []
    there = record_of(
        make_run(cluster, damaged_coco, name, task, batch_size),
        on_image=lambda sample: seen.append(sample.image.id),
        progress=lambda done, total: progress.append((done, total)),
    )
    assert there == here
    assert [each["image_id"] for each in there["skipped"]] == [PIZZA, CAT, OFFICER]
    assert seen == [each for each in NINE if each not in (PIZZA, CAT, OFFICER)]
    assert progress == [(done, 9) for done in range(10)]


def test_label_maps_travel_with_their_photographs(cluster, segmenter, tmp_path):
    folder = write_voc(tmp_path, {name: boxes((30, 40), (12, 2, 3, 20, 30)) for name in "abcd"})
    label_file(folder, "b").unlink()
    (folder / "JPEGImages" / "c.jpg").unlink()
    there = record_of(make_run(cluster, folder, batch_size=2))
    assert there == record_of(make_run(segmenter, folder, batch_size=2))
    assert [each["image_id"] for each in there["skipped"]] == ["b", "c"]
    assert there["images"] == 2 and there["objects"] is None


def test_both_workers_work_with_one_model_each(cluster):
    first, second = cluster.workers
    assert first["pid"] != second["pid"] and os.getpid() not in (first["pid"], second["pid"])
    assert first["weights"] == second["weights"] == cluster.weights_sha256


def test_a_killed_worker_s_images_are_done_again(cluster, losses, expected, nine_coco, tmp_path):
    victim = cluster.workers[0]["pid"]

    def kill_after_two(done, total):
        if done == 2:
            os.kill(victim, signal.SIGKILL)

    run = make_run(cluster, nine_coco)
    there = record_of(run, progress=kill_after_two, resume=tmp_path)
    assert there == expected
    assert there["images"] == 9 and there["skipped"] == []
    assert len(losses) == 1 and "was lost; what it was at is done again" in losses[0]
    assert not Path(f"/proc/{victim}").exists() and victim not in [each["pid"] for each in cluster.workers]
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) == 10


def test_a_stopped_run_is_resumed_without_ray(cluster, segmenter, expected, nine_coco, tmp_path):
    scored = evaluate.score_images(make_run(cluster, nine_coco), resume=tmp_path)
    heard = [next(scored).image.id for _ in range(3)]
    scored.close()
    assert heard == list(NINE[:3])

    seen = []
    run = make_run(segmenter, nine_coco)
    resumed = record_of(run, resume=tmp_path, on_image=lambda sample: seen.append(sample.image.id))
    assert seen == list(NINE[3:])
    assert resumed == expected


@dataclass(frozen=True)
class DeadlyProtocol(Protocol):
    """Whoever scores LIFEBOAT by it dies, as of a photograph that needs more memory than there is."""

    def truth_at_scored_size(self, dataset, image_id, preprocess):
        if image_id == LIFEBOAT:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().truth_at_scored_size(dataset, image_id, preprocess)


def test_a_photograph_that_kills_its_workers_is_left_out(cluster, losses, nine_coco, monkeypatch):
    pickle = pytest.importorskip("ray").cloudpickle
    pickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
    monkeypatch.setattr("segcore.evaluation.ray_cluster.TRIES", 2)
    monkeypatch.setattr("segcore.evaluation.ray_cluster._QUEUED", 1)  # both are lost before another has started
    del losses[:]
    deadly = DeadlyProtocol(**vars(protocol("report")))
    record = record_of(replace(make_run(cluster, nine_coco), protocol=deadly))
    assert [each["image_id"] for each in record["skipped"]] == [LIFEBOAT]
    assert "was lost" in record["skipped"][0]["reason"] and record["images"] == 8
    assert len(losses) == 2


# ------------------------------------------------------------------- the command line


def command(*arguments, **options):
    """Start the command line with one thread, in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "segcore", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def without_time(folder):
    """The files of a folder by name, without the seconds that a network took."""
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    return {name: re.sub(rb'"seconds": [^,]*', b"", content) for name, content in files.items()}


def test_predict_writes_what_it_writes_without_workers(segmenter, run, nine_coco, tmp_path):
    """`segmenter` keeps this process to one thread, as workers have."""
    pytest.importorskip("ray")
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in (ASTRONAUT, CAT, RIDERS):
        shutil.copy(nine_coco / "samples" / f"{number:012d}.jpg", photographs)
    (photographs / "empty.jpg").touch()
    (photographs / "text.jpg").write_text("no photograph")
    inputs = ("predict", photographs, tmp_path / "nowhere.jpg", "--model", SHIPPED, "--device", "cpu")
    inputs += ("--cutout", "--probabilities", "--precision", "float32", "--refine", "edges")
    here = run(*inputs, "--out", tmp_path / "here")
    there = command(*inputs, "--out", tmp_path / "there", "--workers", 2)
    out, err = there.communicate(timeout=200)
    err = re.sub(r"segcore: predict: \d of 6 images.*\n", "", err)  # what a slow machine says of its progress
    assert (out, err) == (here.out, here.err)
    assert here.status == there.returncode == 1 and here.err.count("segcore: ") == 3
    files = without_time(tmp_path / "there")
    assert len(files) == 15 and files == without_time(tmp_path / "here")


def test_interrupted_it_stops_and_is_resumed_with_and_without_workers(cluster, run, expected, nine_coco, tmp_path):
    pytest.importorskip("ray")
    journal = tmp_path / "resume" / "progress.jsonl"
    arguments = ("evaluate", "--dataset", nine_coco, "--model", SHIPPED, "--device", "cpu", "--protocol", "report")
    arguments += ("--refine", "edges", "--resume", journal.parent, "--json", tmp_path / "scores.json")
    running, deadline = command(*arguments, "--workers", 2), time.monotonic() + 200
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=300)
    assert (running.returncode, out, err) == (1, "", "segcore: stopped\n")
    assert 3 <= journal.read_bytes().count(b"\n") < 10

    copy, seen = shutil.copytree(journal.parent, tmp_path / "copy"), []
    there = make_run(cluster, nine_coco)
    assert record_of(there, resume=copy, on_image=lambda sample: seen.append(sample.image.id)) == expected
    assert 0 < len(seen) <= 7
    resumed = run(*arguments)
    assert resumed.status == 0 and resumed.err == "" and "9 images of samples" in resumed.out
    record = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    del record["seconds"]
    assert record == expected


# ------------------------------------------------------------------- what can be wrong before it begins


def test_without_ray_it_says_how_to_get_it(nine_coco, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main.main(["evaluate", "--dataset", str(nine_coco), "--workers", "2"]) == 2
    assert capsys.readouterr().err == "segcore: work on several workers needs Ray; install it with: pip install ray\n"


def test_there_cannot_be_more_workers_than_processors(cluster):
    with pytest.raises(UsageError, match="4 workers were asked for, and Ray has 3 processors; ask for 1 to 3"):
        Cluster(SHIPPED, device="cpu", workers=4)
    with pytest.raises(UsageError, match="0 workers were asked for"):
        Cluster(SHIPPED, device="cpu", workers=0)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1"])
def test_no_cluster_at_the_address(address, nine_coco, capsys, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # the other tests' cluster runs in this process
    assert main.main(["evaluate", "--dataset", str(nine_coco), "--ray", address]) == 1
    assert f"no Ray cluster answers at {address}" in capsys.readouterr().err


def test_workers_with_other_weights_are_refused(cluster, monkeypatch):
    here = loading.weights_sha256(SHIPPED)
    monkeypatch.setattr("segcore.models.loading.weights_sha256", lambda name: "0" * 64)
    monkeypatch.setattr("segcore.models.loading._expected_sha256", lambda name: "")
    with pytest.raises(ClusterError, match=f"has weights {here[:8]}.*, but 0000.* is needed"):
        Cluster(SHIPPED, device="cpu", workers=3)  # one of which has room beside the other tests' two
