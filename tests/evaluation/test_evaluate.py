"""Evaluation of a data set: its record, its batches, and images that cannot be read."""

import csv
import io
import json
import multiprocessing
import shutil
import threading

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from segcore.errors import Cancelled, ClusterError, UsageError
from segcore.evaluation import evaluate
from segcore.evaluation.evaluate import Evaluation, Run
from segcore.evaluation.protocols import protocol
from segcore.inference.refine import Edges
from segcore.inference.task import Task
from segcore.metrics import confusion
from segcore.models import loading
from segcore.report import headlines
from segcore.truth.coco import CocoDataset
from tests.helpers.runs import SHIPPED, make_run, refining, truncate, without_seconds
from tests.helpers.samples import DOG, LIFEBOAT, NINE, PIZZA

OVERALL = {
    "pixel_accuracy",
    "mean_iou",
    "classes_counted",
    "foreground_mean_iou",
    "f1_macro",
    "f1_weighted",
    "mse",
    "brier",
    "frequency_weighted_iou",
    "mean_accuracy",
    "boundary_iou",
}
IMAGE = {"image_id", "file_name", "label_quality", "brightness", "objects_total", "objects_found"}
PER_CLASS = {"iou", "f1", "precision", "recall", "boundary_iou"}
RECORD = {
    *("schema", "model", "weights_sha256", "protocol", "resize", "mode", "class", "threshold", "split", "images"),
    *("skipped", "device", "precision", "engine", "tta", "careful", "calibration", "refine", "seconds", "confusion"),
    *("dataset", "image_mean", "per_class", "per_image"),
    *("intervals", "reliability", "objects", "categories", "origins", "slices", "threshold_curve"),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", [Task(), Task("binary"), Task("binary", "person", 0.05)], ids=str)
@pytest.mark.parametrize("name", ["original", "report"])
def test_refined_predictions_are_scored_and_the_record_says_so(quick, small_coco, name, task):
    pytest.importorskip("cv2")
    samples = []
    run = make_run(refining(quick), small_coco, name=name, task=task, ids=[LIFEBOAT, DOG])
    record = evaluate.evaluate(run, on_image=samples.append).to_dict()

    assert record["refine"] == "edges" and "edges refined" in run.caption(run.images[0])
    matrix = np.zeros(np.shape(record["confusion"]), int)
    for sample in samples:
        logits = quick.predict_logits(loading.preprocess_for(SHIPPED, "squeeze")(sample.photograph))[0]
        decided = task.predict(logits, sample.truth.shape, Edges(logits, sample.photograph))
        np.testing.assert_array_equal(sample.prediction, decided)
        matrix += confusion.confusion_matrix(sample.truth, decided, num_classes=len(matrix))
    np.testing.assert_array_equal(record["confusion"], matrix)
    plain = evaluate.evaluate(make_run(quick, small_coco, name=name, task=task, ids=[LIFEBOAT, DOG])).to_dict()
    assert plain["refine"] is None and plain["confusion"] != record["confusion"]
    assert record["skipped"] == plain["skipped"] == []


@pytest.mark.slow
@pytest.mark.parametrize("task", [Task(), Task("binary", "cat", 0.3)])
def test_record_has_the_keys_of_the_contract(quick, nine_coco, task):
    record = evaluate.evaluate(make_run(quick, nine_coco, task=task)).to_dict()

    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record) == RECORD
    assert record["schema"] == 1 and record["images"] == 9 and record["skipped"] == []
    assert set(record["dataset"]) == set(record["image_mean"]) == OVERALL
    assert all(set(row) == OVERALL | IMAGE for row in record["per_image"])
    assert [row["image_id"] for row in record["per_image"]] == list(NINE)
    assert tuple(record["per_class"]) == task.names
    assert all(set(row) == PER_CLASS for row in record["per_class"].values())
    assert np.shape(record["confusion"]) == (task.num_classes,) * 2


@pytest.mark.slow
def test_dataset_scores_come_from_the_matrix_and_image_means_from_the_images(quick, nine_coco):
    record = evaluate.evaluate(make_run(quick, nine_coco)).to_dict()

    matrix = np.array(record["confusion"])
    target, prediction = np.indices(matrix.shape).reshape(2, -1)
    weights = {"sample_weight": matrix.ravel()}
    present = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    dataset = record["dataset"]
    iou = jaccard_score(target, prediction, labels=present, average=None, zero_division=0, **weights)
    assert dataset["pixel_accuracy"] == pytest.approx(accuracy_score(target, prediction, **weights))
    assert dataset["mean_iou"] == pytest.approx(iou.mean()) and dataset["classes_counted"] == len(present)
    assert dataset["foreground_mean_iou"] == pytest.approx(iou[present > 0].mean())
    f1 = f1_score(target, prediction, labels=present, average="macro", zero_division=0, **weights)
    assert dataset["f1_macro"] == pytest.approx(f1)
    by_class = [row["iou"] for row in record["per_class"].values()]
    assert [number for number, value in enumerate(by_class) if value is not None] == present.tolist()
    assert [by_class[number] for number in present] == pytest.approx(iou)

    for key, mean in record["image_mean"].items():
        values = [row[key] for row in record["per_image"] if row[key] is not None]
        assert mean == pytest.approx(np.mean(values))
    assert record["image_mean"]["mean_iou"] != pytest.approx(dataset["mean_iou"], abs=1e-3)


@pytest.mark.slow
def test_table_holds_the_same_numbers(quick, nine_coco):
    record = evaluate.evaluate(make_run(quick, nine_coco)).to_dict()
    rows = list(csv.DictReader(io.StringIO(evaluate.to_csv(record))))

    def numbers(row, keys):
        return {key: None if row[key] == "" else float(row[key]) for key in keys}

    scopes = [row["scope"] for row in rows]
    assert scopes == ["dataset", "image_mean", *["class"] * 21, *["image"] * 9]
    assert numbers(rows[0], OVERALL) == record["dataset"]
    assert numbers(rows[1], OVERALL) == record["image_mean"]
    for row, (name, scores) in zip(rows[2:23], record["per_class"].items(), strict=True):
        assert row["name"] == name and numbers(row, PER_CLASS) == scores
    for row, scores in zip(rows[23:], record["per_image"], strict=True):
        assert (row["image_id"], row["name"]) == (str(scores["image_id"]), scores["file_name"])
        assert numbers(row, OVERALL) == {key: scores[key] for key in OVERALL}
    for row in rows:
        assert (row["model"], row["protocol"], row["resize"]) == (SHIPPED, "report", "squeeze")
        assert (row["weights_sha256"], row["arithmetic"]) == ("0" * 64, "float32")


@pytest.mark.slow
def test_images_that_cannot_be_read_are_named_and_left_out(quick, small_coco):
    truncate(small_coco / "samples" / "000000204805.jpg")
    (small_coco / "samples" / "000000900005.jpg").unlink()
    record = evaluate.evaluate(make_run(quick, small_coco, batch_size=2)).to_dict()

    cut, absent = record["skipped"]
    assert (cut["image_id"], cut["file_name"]) == (LIFEBOAT, "000000204805.jpg") and "cut short" in cut["reason"]
    assert absent["image_id"] == DOG and "no file" in absent["reason"]
    assert record["images"] == len(record["per_image"]) == 7
    others = [each for each in NINE if each not in (LIFEBOAT, DOG)]
    alone = evaluate.evaluate(make_run(quick, small_coco, ids=others)).to_dict()
    assert record["confusion"] == alone["confusion"] and record["per_image"] == alone["per_image"]


def test_nothing_left_to_score(quick, small_coco):
    shutil.rmtree(small_coco / "samples")
    evaluation = evaluate.evaluate(make_run(quick, small_coco))
    record = evaluation.to_dict()
    assert record["images"] == 0 and len(record["skipped"]) == 9
    assert record["dataset"]["mean_iou"] is None and record["image_mean"]["mean_iou"] is None
    assert "0 images" in headlines.of_evaluation(record) and evaluation.to_csv().startswith("scope,")


@pytest.mark.slow
def test_headline_shows_both_summaries_and_how_they_were_taken(quick, nine_coco):
    record = evaluate.evaluate(make_run(quick, nine_coco)).to_dict()
    text = headlines.of_evaluation(record)
    for word in ("9 images of samples", SHIPPED, "00000000", "protocol report", "squeeze", "float32", "image mean"):
        assert word in text
    for summary in ("dataset", "image_mean"):
        assert f"{record[summary]['mean_iou']:.4f}" in text


def test_progress_counts_images(quick, nine_coco):
    seen = []
    evaluate.evaluate(make_run(quick, nine_coco, batch_size=4), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 9) for done in range(10)]


@pytest.mark.slow
def test_images_of_one_size_share_a_batch(quick, nine_coco):
    evaluate.evaluate(make_run(quick, nine_coco, batch_size=4))
    assert quick.predict_logits.batches == [4, 4, 1]
    quick.predict_logits.batches.clear()
    evaluate.evaluate(make_run(quick, nine_coco, batch_size=4, name="torchvision"))
    assert quick.predict_logits.batches == [
        1,
        1,
        1,
        1,
        2,
        1,
        1,
        1,
    ]  # ASTRONAUT and DOG are square


@pytest.mark.slow
def test_a_run_in_parts_and_in_any_order_is_the_same(quick, nine_coco, tmp_path):
    run = make_run(quick, nine_coco, name="original")
    whole = evaluate.evaluate(run)
    record = without_seconds(whole.to_dict())

    parts = [
        evaluate.evaluate(make_run(quick, nine_coco, name="original", ids=ids)).scored
        for ids in (NINE[1::7], [*NINE[:1], *NINE[2:8]])
    ]
    assert without_seconds(Evaluation(run, parts[1] + parts[0], 0).to_dict()) == record
    assert without_seconds(Evaluation(run, whole.scored[::-1], 0).to_dict()) == record

    first = make_run(quick, nine_coco, name="original", ids=NINE[:2])
    evaluate.evaluate(first, resume=tmp_path)
    seen = []
    grown = evaluate.evaluate(run, resume=tmp_path, on_image=lambda sample: seen.append(sample.image.id))
    assert seen == list(NINE[2:]) and without_seconds(grown.to_dict()) == record
    shrunk = evaluate.evaluate(first, resume=tmp_path)
    assert [each.image.id for each in shrunk.counted] == list(NINE[:2])


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 2])
def test_beside_an_accelerator_it_counts_the_same(quick, nine_coco, batch_size, tmp_path):
    beside_a_cpu = evaluate.evaluate(make_run(quick, nine_coco, batch_size=batch_size)).to_dict()
    quick.device = "cuda"
    seen = []
    beside_a_gpu = evaluate.evaluate(
        make_run(quick, nine_coco, batch_size=batch_size),
        resume=tmp_path,
        on_image=lambda sample: seen.append(sample.image.id),
    ).to_dict()
    assert seen == list(NINE)
    assert without_seconds(beside_a_gpu) == without_seconds(beside_a_cpu) | {"device": "cuda"}
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) == 10


def test_who_stops_listening_keeps_what_came_until_then(quick, nine_coco, tmp_path):
    run = make_run(quick, nine_coco)
    images = evaluate.score_images(run, resume=tmp_path)
    heard = [next(images) for _ in range(3)]
    images.close()
    assert [each.image.id for each in heard] == list(NINE[:3])
    assert Evaluation(run, tuple(heard), 0).to_dict()["images"] == 3
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) == 4


def test_cancelled_before_it_began(quick, nine_coco):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled, match="stopped"):
        evaluate.evaluate(make_run(quick, nine_coco), cancel=cancel)
    assert quick.predict_logits.batches == []


def test_choose_images(nine_coco):
    dataset = CocoDataset.open(nine_coco)
    assert evaluate.choose_images(dataset) == dataset.images
    assert [each.id for each in evaluate.choose_images(dataset, limit=2)] == list(NINE[:2])
    assert [each.id for each in evaluate.choose_images(dataset, limit=99)][-1] == NINE[-1]
    chosen = evaluate.choose_images(dataset, image_ids=[DOG, LIFEBOAT, DOG, PIZZA], limit=2)
    assert [each.id for each in chosen] == [PIZZA, LIFEBOAT]


def test_choose_images_errors(quick, nine_coco):
    dataset = CocoDataset.open(nine_coco)
    with pytest.raises(UsageError, match="at least 1 image, got 0"):
        evaluate.choose_images(dataset, limit=0)
    with pytest.raises(UsageError, match="no image 5 in samples"):
        evaluate.choose_images(dataset, image_ids=[5])
    with pytest.raises(UsageError, match="at least 1 image, got 0"):
        make_run(quick, nine_coco, batch_size=0)


@pytest.mark.slow
def test_batches_of_any_size_count_the_same(segmenter, nine_coco):
    """In float32; the last bits of the logits may differ, and with them a pixel in a hundred thousand."""
    dataset = CocoDataset.open(nine_coco)
    images = evaluate.choose_images(dataset, limit=2)
    one, several = (
        evaluate.evaluate(Run(segmenter, dataset, protocol("torchvision"), Task(), images, size))
        .per_image.total()
        .matrix
        for size in (1, 2)
    )
    assert one.sum() == several.sum()
    assert np.abs(one - several).sum() <= 2e-5 * one.sum()


@pytest.mark.slow
def test_processes_beside_the_network_give_the_same_scores_and_a_killed_one_loses_nothing(quick, small_coco, tmp_path):
    truncate(small_coco / "samples" / f"{PIZZA:012d}.jpg")
    run, alone, beside = make_run(quick, small_coco), [], []
    expected = without_seconds(evaluate.evaluate(run, on_image=alone.append).to_dict())

    def kill_after_five(done, total):
        if done == 5:
            (process,) = multiprocessing.active_children()
            process.kill()

    with pytest.raises(ClusterError, match="a process that reads photographs was killed.*start again"):
        evaluate.evaluate(run, resume=tmp_path, on_image=beside.append, progress=kill_after_five, processes=1)
    assert 3 < len(beside) < len(alone) == 8
    resumed = evaluate.evaluate(run, resume=tmp_path, on_image=beside.append)
    assert without_seconds(resumed.to_dict()) == expected
    for one, other in zip(alone, beside, strict=True):
        assert one.image == other.image
        np.testing.assert_array_equal(one.photograph, other.photograph)
        np.testing.assert_array_equal(one.prediction, other.prediction)
    assert multiprocessing.active_children() == []


def test_processes_help_a_graphics_card_with_many_images_only():
    assert evaluate.processes_beside("cpu", 5000) == 0
    assert evaluate.processes_beside("cuda", 100) == 0
    assert 1 <= evaluate.processes_beside("cuda:1", 5000) <= 16
