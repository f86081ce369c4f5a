"""An evaluation that was interrupted continues from its journal and gives the same scores."""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segcore import Preprocess, Segmenter
from segcore.errors import Cancelled, UsageError
from segcore.evaluation import evaluate
from segcore.evaluation.journal import Journal
from segcore.evaluation.protocols import protocol
from segcore.inference.task import Task
from segcore.truth.layouts import open_dataset
from tests.helpers.colours import Colours
from tests.helpers.runs import SHIPPED, make_run, refining, run_command, truncate, without_seconds
from tests.helpers.samples import DOG, NINE
from tests.helpers.voc_folder import boxes, write_voc

ROOT = Path(__file__).parents[2]


def stop_after(images, how):
    def progress(done, total):
        if done >= images:
            how()

    return progress


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("way", ["cancelled", "interrupted"])
def test_resuming_gives_the_same_record(quick, nine_coco, tmp_path, batch_size, way, device):
    quick.device = device  # beside an accelerator, some images are on their way when it stops
    whole = evaluate.evaluate(make_run(quick, nine_coco, batch_size=batch_size)).to_dict()
    cancel = threading.Event()
    how, error = (cancel.set, Cancelled) if way == "cancelled" else (interrupt, KeyboardInterrupt)
    run = make_run(quick, nine_coco, batch_size=batch_size)
    with pytest.raises(error):
        evaluate.evaluate(run, resume=tmp_path, progress=stop_after(4, how), cancel=cancel)

    seen, counted = [], []
    resumed = evaluate.evaluate(
        make_run(quick, nine_coco, batch_size=batch_size),
        resume=tmp_path,
        on_image=lambda sample: seen.append(sample.image.id),
        progress=lambda done, total: counted.append(done),
    )
    assert without_seconds(resumed.to_dict()) == without_seconds(whole)
    assert seen == list(NINE[-len(seen) :]) and len(seen) <= 5
    assert counted[0] == 0 and counted[-1] == 9

    seen.clear()
    again = evaluate.evaluate(run, resume=tmp_path, on_image=lambda sample: seen.append(sample.image.id))
    assert without_seconds(again.to_dict()) == without_seconds(whole) and seen == []


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 300, "into the second line of a batch", "into the first line"])
def test_a_torn_last_line_is_counted_again(quick, nine_coco, tmp_path, cut):
    run = make_run(quick, nine_coco, batch_size=2)
    whole = evaluate.evaluate(run, resume=tmp_path).to_dict()
    journal = tmp_path / "progress.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 10
    if cut == "into the first line":
        journal.write_bytes(lines[0][:40])
    elif cut == "into the second line of a batch":
        journal.write_bytes(b"".join(lines[:6]) + lines[6][:80])
    else:
        journal.write_bytes(b"".join(lines)[:-cut])

    for _ in range(2):
        assert without_seconds(evaluate.evaluate(run, resume=tmp_path).to_dict()) == without_seconds(whole)


@pytest.mark.slow
def test_a_mended_image_is_scored_on_resuming(quick, small_coco, nine_coco, tmp_path):
    truncate(small_coco / "samples" / "000000900002.jpg")
    resume = tmp_path / "resume"
    first = evaluate.evaluate(make_run(quick, small_coco, batch_size=2), resume=resume).to_dict()
    assert first["images"] == 8
    again = evaluate.evaluate(make_run(quick, small_coco, batch_size=2), resume=resume).to_dict()
    assert without_seconds(again) == without_seconds(first)

    shutil.copy(nine_coco / "samples" / "000000900002.jpg", small_coco / "samples")
    mended = evaluate.evaluate(make_run(quick, small_coco, batch_size=2), resume=resume).to_dict()
    whole = evaluate.evaluate(make_run(quick, nine_coco)).to_dict()
    assert without_seconds(mended) == without_seconds(whole)


@pytest.mark.slow
def test_a_journal_that_calls_tta_careful_is_resumed_with_a_notice(quick, small_coco, tmp_path, caplog):
    first = evaluate.evaluate(make_run(quick, small_coco), resume=tmp_path).to_dict()
    journal = tmp_path / "progress.jsonl"
    header, *lines = journal.read_text().splitlines(keepends=True)
    settings = json.loads(header)
    del settings["tta"]
    journal.write_text("".join([json.dumps(settings) + "\n", *lines]))
    caplog.clear()
    again = evaluate.evaluate(make_run(quick, small_coco), resume=tmp_path, on_image=lambda sample: pytest.fail("anew"))
    assert without_seconds(again.to_dict()) == without_seconds(first)
    assert "calls tta by its old name careful" in caplog.text

    journal.write_text("".join([json.dumps(settings | {"careful": True}) + "\n", *lines]))
    with pytest.raises(UsageError, match="other settings"):
        evaluate.evaluate(make_run(quick, small_coco), resume=tmp_path)


def test_a_journal_of_another_version_is_refused_as_such(quick, nine_coco, tmp_path):
    run = make_run(quick, nine_coco, ids=NINE[:1])
    evaluate.evaluate(run, resume=tmp_path)
    journal = tmp_path / "progress.jsonl"
    header, line = journal.read_text().splitlines()
    before = json.dumps(json.loads(header) | {"journal": 4}) + "\n" + line + "\n"
    journal.write_text(before)
    with pytest.raises(UsageError, match="written by another version of segcore.*another folder"):
        evaluate.evaluate(run, resume=tmp_path)
    assert journal.read_text() == before


def other_annotations(folder):
    file = folder / "annotations" / "instances_samples.json"
    document = json.loads(file.read_text())
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] != DOG]
    file.write_text(json.dumps(document))


def test_resume_errors(quick, small_coco, tmp_path):
    resume, ids = tmp_path / "resume", NINE[:2]
    evaluate.evaluate(make_run(quick, small_coco, ids=ids), resume=resume)
    for other in (
        make_run(quick, small_coco, ids=ids, name="original"),
        make_run(quick, small_coco, ids=ids, task=Task("binary")),
        make_run(quick, small_coco, ids=ids, batch_size=2),
        make_run(refining(quick), small_coco, ids=ids),
    ):
        with pytest.raises(UsageError, match="progress.jsonl belongs to a run with other settings.*another folder"):
            evaluate.evaluate(other, resume=resume)

    resume = tmp_path / "batches"
    evaluate.evaluate(make_run(quick, small_coco, ids=ids, batch_size=2), resume=resume)
    with pytest.raises(UsageError, match="other settings or images"):
        evaluate.evaluate(make_run(quick, small_coco, batch_size=2), resume=resume)

    folder = tmp_path / "held"
    with Journal(folder, make_run(quick, small_coco)).held():
        with pytest.raises(UsageError, match="another evaluation is writing to .*progress.jsonl; wait"):
            evaluate.evaluate(make_run(quick, small_coco), resume=folder)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("change", ["preprocessing", "order of the names"])
def test_a_journal_of_your_own_network_with_other_settings_is_refused(tmp_path, change):
    """The weights, and so their hash, are the same."""
    truth = write_voc(tmp_path / "voc", {"dog": boxes((60, 80), (12, 10, 20, 30, 40))})

    def score(names: list[str], size: int) -> dict:
        segmenter = Segmenter(Colours(), categories=names, transforms=Preprocess(size=size), device="cpu")
        dataset = open_dataset(truth, categories=segmenter.categories)
        task = Task(categories=segmenter.categories)
        run = evaluate.Run(segmenter, dataset, protocol("original"), task, dataset.images)
        return evaluate.evaluate(run, resume=tmp_path / "kept").to_dict()

    first = score(["dog", "cat", "car"], 64)
    journal = tmp_path / "kept" / "progress.jsonl"
    with pytest.raises(UsageError, match="other settings"):
        score(*((["dog", "cat", "car"], 32) if change == "preprocessing" else (["cat", "dog", "car"], 64)))
    header, line = journal.read_text().splitlines()
    earlier = {key: value for key, value in json.loads(header).items() if key not in ("categories", "preprocess")}
    journal.write_text(f"{json.dumps(earlier)}\n{line}\n")  # as segcore wrote it before
    assert without_seconds(score(["dog", "cat", "car"], 64)) == without_seconds(first)


def test_an_image_is_scored_anew_where_its_truth_has_changed(quick, small_coco, tmp_path):
    resume, seen = tmp_path / "resume", []
    evaluate.evaluate(make_run(quick, small_coco), resume=resume)
    other_annotations(small_coco)
    resumed = evaluate.evaluate(
        make_run(quick, small_coco), resume=resume, on_image=lambda sample: seen.append(sample.image.id)
    )
    assert seen == [DOG]
    assert without_seconds(resumed.to_dict()) == without_seconds(
        evaluate.evaluate(make_run(quick, small_coco)).to_dict()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [b"\0" * 50, b"{}", b'{"image_id": 7}', b"[]", b'{"image_id": 122745, "matrix": 3}', b"[" * 100_000]
)
def test_a_damaged_journal_is_refused(quick, nine_coco, tmp_path, damage):
    run = make_run(quick, nine_coco, ids=NINE[:2])
    evaluate.evaluate(run, resume=tmp_path)
    journal = tmp_path / "progress.jsonl"
    journal.write_bytes(journal.read_bytes() + damage + b"\n")
    with pytest.raises(UsageError, match="damaged in line 4; give --resume another folder"):
        evaluate.evaluate(run, resume=tmp_path)


def test_a_journal_with_a_byte_that_is_no_text_is_refused(quick, nine_coco, tmp_path):
    run = make_run(quick, nine_coco, ids=NINE[:2])
    evaluate.evaluate(run, resume=tmp_path)
    journal = tmp_path / "progress.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"truth":"', b'"truth":"\x87'))
    with pytest.raises(UsageError, match="damaged in line 2"):
        evaluate.evaluate(run, resume=tmp_path)


@pytest.mark.parametrize(
    "outcome",
    [[1, "12", 30, True, 12], [1, 12, "30", True, 12], [1, 12, 30, 1, 12], [1, 12, 30, True, 21], [[], 12, 3]],
)
def test_a_journal_of_objects_that_cannot_be_is_refused(quick, nine_coco, tmp_path, outcome):
    run = make_run(quick, nine_coco, ids=NINE[:2])
    evaluate.evaluate(run, resume=tmp_path)
    journal = tmp_path / "progress.jsonl"
    header, first, last = journal.read_text().splitlines()
    changed = json.dumps(json.loads(last) | {"objects": [outcome]})
    journal.write_text("\n".join([header, first, changed]) + "\n")
    with pytest.raises(UsageError, match="damaged in line 3"):
        evaluate.evaluate(run, resume=tmp_path)


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_same_scores(nine_coco, tmp_path):
    settings = ["--batch-size", "2", "--limit", "6", "--protocol", "report"]
    arguments = [*settings, "--resume", str(tmp_path / "resume")]
    command = [sys.executable, "-m", "segcore", "evaluate", "--dataset", str(nine_coco), "--model", SHIPPED]
    process = subprocess.Popen([*command, "--device", "cpu", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    journal, deadline = tmp_path / "resume" / "progress.jsonl", time.monotonic() + 600
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert journal.read_bytes().count(b"\n") < 7  # it was not done

    status, resumed, _ = run_command(nine_coco, tmp_path, *arguments)
    assert status == 0 and resumed["images"] == 6
    _, whole, _ = run_command(nine_coco, tmp_path, *settings)
    assert without_seconds(resumed) == without_seconds(whole)
