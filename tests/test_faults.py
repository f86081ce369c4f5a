"""What becomes of work when the machine fails it: full disks, folders that cannot be written, taken ports, clocks."""

from __future__ import annotations

import ast
import errno
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from demo import app
from demo.answers.datasets import Collecting, Datasets
from demo.settings import Settings
from segcore.categories import Categories
from segcore.cli.common import DONE, FAILED
from segcore.errors import UsageError, WeightsError
from segcore.files import download
from segcore.models import checkpoint
from segcore.training.state import CHECKPOINT, MovingAverage, TrainingState
from tests.helpers.ctrl_c import stopped_at
from tests.helpers.page_client import FILE_DATA
from tests.helpers.page_server import RunningPage, free_port, running_page
from tests.helpers.plain_http import call, form, segment, upload
from tests.helpers.samples import CAT, DOG, sample

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_downloads")]

ROOT = Path(__file__).parents[1]
NOWHERE = "/proc/segcore"  # where not even root can make a folder
FULL = "the disk is full; free some space and run this again"

on_linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A disk of 1 MB in that folder; where this user may not mount one, the test is skipped."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs to mount a small disk, which root may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture(scope="module")
def on_small_disk(no_downloads, tmp_path_factory) -> Iterator[tuple[RunningPage, Path]]:
    """A page whose uploads have a disk of 1 MB, and that disk."""
    with mounted(tmp_path_factory.mktemp("page") / "disk") as disk:
        with running_page(env={"GRADIO_TEMP_DIR": str(disk)}) as page:
            yield page, disk
            assert "Traceback" not in page.log()


def fill(disk: Path) -> Path:
    """Leave no room on a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return filler


def program(*arguments: object) -> subprocess.CompletedProcess:
    """`python -m segcore` as a person runs it."""
    command = [sys.executable, "-m", "segcore", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def start(*flags: str, **environment: str) -> subprocess.CompletedProcess:
    """`python demo/app.py` that is expected to end by itself."""
    command = [sys.executable, "demo/app.py", *flags]
    own = os.environ | {"SEGCORE_OFFLINE": "1"} | environment
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=600)


# ------------------------------------------------------------------------------------------------ full disks


@pytest.mark.parametrize("flags", [[], ["--probabilities"]], ids=["pictures", "probabilities"])
def test_predictions_on_a_full_disk_are_named_and_not_left_half(small_disk, tmp_path, flags):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)).save(tmp_path / "noise.png")
    ended = program("predict", tmp_path / "noise.png", "--out", small_disk, *flags)
    assert ended.returncode == FAILED, "and no signal ended it"
    assert f"noise.png: {FULL}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert {path.name for path in small_disk.iterdir()} <= {"noise_overlay.png", "noise_labels.png"}
    for picture in small_disk.glob("*.png"):
        Image.open(picture).load()


def test_an_evaluation_on_a_full_disk_goes_on_once_there_is_room(run, small_disk, examples_coco, tmp_path):
    arguments = ("evaluate", "--dataset", examples_coco, "--split", "samples", "--limit", 3)
    journal = ("--resume", small_disk / "journal")
    assert run(*arguments, "--limit", 1, *journal).status == DONE
    filler = fill(small_disk)
    ended = run(*arguments, *journal)
    assert ended.status == FAILED
    assert FULL in ended.err
    filler.unlink()
    assert run(*arguments, *journal, "--json", tmp_path / "resumed.json").status == DONE
    assert run(*arguments, "--json", tmp_path / "whole.json").status == DONE
    resumed, whole = (json.loads((tmp_path / name).read_text()) for name in ("resumed.json", "whole.json"))
    assert resumed["confusion"] == whole["confusion"]


def test_a_torn_journal_is_mended_where_there_is_no_room(run, small_disk, examples_coco):
    arguments = ("evaluate", "--dataset", examples_coco, "--split", "samples", "--limit", 2, "--resume", small_disk)
    assert run(*arguments).status == DONE
    journal = small_disk / "progress.jsonl"
    whole = journal.read_bytes()
    os.truncate(journal, len(whole) - 10)
    fill(small_disk)
    run(*arguments)
    first_image = whole[: whole.index(b"\n", whole.index(b"\n") + 1) + 1]
    assert journal.read_bytes().startswith(first_image), "what was counted is still there"


def test_a_table_on_a_full_disk_says_so(run, small_disk, examples_coco):
    fill(small_disk)
    scores = ("--json", small_disk / "scores.json")
    ended = run("evaluate", "--dataset", examples_coco, "--split", "samples", "--limit", 1, *scores)
    assert (ended.status, "Traceback" in ended.err) == (FAILED, False)
    assert FULL in ended.err


def training_state(size: int) -> TrainingState:
    network = torch.nn.Linear(size, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return TrainingState(network, optimizer, MovingAverage(network, 0.9))


def test_a_checkpoint_on_a_full_disk_leaves_the_one_before(small_disk):
    state = training_state(20_000)
    state.step = 7
    state.save(small_disk, {})
    fill(small_disk)
    state.step = 8
    with pytest.raises(OSError) as caught:
        state.save(small_disk, {})
    assert caught.value.errno == errno.ENOSPC
    assert not list(small_disk.glob(".part-*")), "nor does the failed one take room"
    again = training_state(20_000)
    again.restore(small_disk, {})
    assert again.step == 7


def test_only_a_full_disk_is_called_one(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        training_state(10).save(tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_over_the_limit_of_a_file_says_so(tmp_path):
    """PyTorch covers what the system says with an error of its own."""
    program = (
        "import resource, signal, sys, pathlib; from tests.test_faults import training_state\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
        f"training_state(10**6).save(pathlib.Path({str(tmp_path)!r}), {{}})"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1] == f"OSError: [Errno 27] File too large: '{tmp_path / 'checkpoint.pt'}'"
    assert not list(tmp_path.iterdir())


def header() -> checkpoint.Header:
    names = ("background", "cat")
    return checkpoint.Header("deeplabv3_resnet50", Categories(names, names, ((), ())), 520, (0.5,) * 3, (0.2,) * 3, {})


def test_a_trained_model_on_a_full_disk_leaves_the_one_before(small_disk):
    path = small_disk / "model.safetensors"
    checkpoint.write(path, header(), {"a": torch.ones(1000)})
    fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(path, header(), {"a": torch.zeros(1_000_000)})
    assert not list(small_disk.glob(".part-*"))
    assert load_file(path)["a"].tolist() == [1] * 1000


def test_the_page_on_a_full_disk_says_so_and_lives(on_small_disk):
    page, disk = on_small_disk
    status, said = upload(page.url, bytes(2 * 2**20))
    assert (status, said) == (507, "The disk of the machine that runs this page is full. Try again later.\n")
    filler = fill(disk)
    assert upload(page.url, sample(DOG).read_bytes())[0] == 507
    filler.unlink()
    [path] = json.loads(upload(page.url, sample(DOG).read_bytes())[1])
    assert "event: complete" in segment(page.url, {"path": path, "meta": FILE_DATA})


def test_who_is_still_sending_is_told_that_the_disk_is_full(on_small_disk):
    page, _ = on_small_disk
    body, kind = form(bytes(2 * 2**20))
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Connection", "close")
    connection.putheader("Content-Type", kind)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    for part in np.array_split(np.frombuffer(body, np.uint8), 4):
        connection.send(part.tobytes())
        time.sleep(0.2)
    answer = connection.getresponse()
    assert answer.status == 507
    assert b"is full. Try again later" in answer.read()
    connection.close()


def test_a_download_that_cannot_be_written_is_a_sentence(monkeypatch, capsys):
    import gradio as gr

    from demo.tabs import downloads

    def full(kind, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(gr.Error, match="cannot write the file, perhaps because its disk is full. Try again later"):
        downloads._write(full, "labels")
    assert "No space left" in capsys.readouterr().err, "and the operator is told"


# ------------------------------------------------------------------------------------------------ folders, ports, files


@on_linux
def test_the_page_runs_where_the_home_cannot_be_written(examples_coco):
    home = {name: NOWHERE for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "MPLCONFIGDIR")}
    with running_page(env=home) as page:
        assert "event: complete" in call(page.url, [CAT, "multiclass", "any", "original", "auto"], "evaluate_coco")
        assert "Traceback" not in page.log()


@on_linux
def test_weights_and_photographs_that_cannot_be_kept(examples_coco):
    with pytest.raises(download.DownloadError, match=f"cannot write {NOWHERE}"):
        download.fetch("http://127.0.0.1:9/x", Path(NOWHERE, "checkpoints", "x.pth"))
    datasets = Datasets(examples_coco, examples_coco, Path(NOWHERE, "coco"), base_url="http://127.0.0.1:9")
    datasets._collect(Collecting("owner"), 1, ())
    assert datasets.collecting.outcome.startswith(f"Fetching ended early: cannot write {NOWHERE}")


@on_linux
def test_no_temporary_folder():
    ended = start(GRADIO_TEMP_DIR=NOWHERE)
    assert ended.returncode == 1
    assert "no temporary folder can be written to" in ended.stderr
    assert "TMPDIR" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = start("--port", str(port))
    assert ended.returncode == 1
    assert f"nothing can listen on port {port} of 127.0.0.1" in ended.stderr
    assert "choose another with --port, or leave it out" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "instances_"),
        ("{", "no JSON, or cut short"),
        ("[" * 200_000, "cannot be read"),
        ('{"images": [{"id": 1, "file_name": "../../etc/passwd", "width": 4, "height": 4}], "annotations": [], '
         '"categories": []}', "must be the name of a file inside"),
        ('{"images": [{"id": 1, "file_name": "a.jpg", "width": 1000000000, "height": 1000000000}], "annotations": [], '
         '"categories": []}', "pixels at most"),
    ],
    ids=["missing", "cut", "deep", "elsewhere", "huge"],
)  # fmt: skip
def test_a_coco_folder_that_cannot_be_used_is_named_at_the_start(tmp_path, capsys, content, sentence):
    (tmp_path / "annotations").mkdir()
    if content is not None:
        (tmp_path / "annotations" / "instances_val2017.json").write_text(content)
    settings = Settings.read(["--dataset", str(tmp_path)], {"SEGCORE_OFFLINE": "1"})
    assert app.serve(settings, tmp_path, tmp_path) == 2
    assert sentence in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ files that run code


class Evil:
    """What runs a command when it is unpickled without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("content", ["code", "a list", "other keys", "noise"])
def test_a_checkpoint_of_somebody_elses(tmp_path, content):
    marker, path = tmp_path / "marker", tmp_path / CHECKPOINT
    if content == "noise":
        path.write_bytes(b"noise")
    else:
        saved = {"code": {"settings": Evil(marker)}, "a list": [1], "other keys": {"settings": {}}}[content]
        torch.save(saved, path)
    with pytest.raises(UsageError, match="name another folder for a new run") as caught:
        training_state(2).restore(tmp_path, {})
    assert "weights_only" not in str(caught.value), "PyTorch's advice is to let it run"
    assert not marker.exists()


@pytest.mark.parametrize("size", [2**63, 2**40, 100_000_001, 8])
def test_safetensors_with_an_absurd_header(tmp_path, size):
    path = tmp_path / "model.safetensors"
    path.write_bytes(size.to_bytes(8, "little") + b"{" * 100)
    with pytest.raises(WeightsError, match="no safetensors file, or is damaged; train it again$"):
        checkpoint.read_header(path)


def calls() -> Iterator[tuple[Path, str, ast.Call]]:
    """Every call in the product's code, by the name that it is called by."""
    for path in [*ROOT.glob("segcore/**/*.py"), *ROOT.glob("demo/**/*.py"), *ROOT.glob("examples/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path, ast.unparse(node.func), node


def test_nothing_that_is_read_can_run_code():
    keywords = {}
    for path, name, node in calls():
        assert name not in ("eval", "exec", "pickle.load", "pickle.loads", "os.system", "os.popen"), path
        assert not name.startswith(("yaml.", "marshal.", "shelve.")), path
        given = {each.arg: ast.unparse(each.value) for each in node.keywords}
        assert "allow_pickle" not in given, path
        if name.startswith("subprocess."):  # this Python, with a module of ours
            assert (
                ast.unparse(node.args[0]) == "[sys.executable, '-m', 'demo.server.decoding_process']"
                and "shell" not in given
            )
        if name in ("torch.load", "load_state_dict_from_url"):
            keywords[path.name] = given.get("weights_only")
    assert keywords, "it is looked for by the right name"
    assert set(keywords.values()) == {"True"}, keywords


# ------------------------------------------------------------------------------------------------ Ctrl-C


@pytest.mark.parametrize("module", ["tempfile", "demo.settings", "demo.server.files", "gradio"])
def test_the_page_is_stopped_while_it_starts(module, tmp_path):
    own = {**os.environ, "TMPDIR": str(tmp_path), "SEGCORE_OFFLINE": "1"}
    start = 'runpy.run_path("demo/app.py", run_name="__main__")'
    done = stopped_at(module, start, "--port", free_port(), env=own)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ clocks


def test_no_duration_and_no_deletion_goes_by_the_date():
    """A computer's date jumps: after sleep, by daylight saving, where somebody sets it."""
    by_the_date = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now"}
    found = {(path.name, name) for path, name, _ in calls() if name in by_the_date}
    assert found == set()
