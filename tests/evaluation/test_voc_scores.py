"""Scores on folders in PASCAL VOC's layout, counted again with Pillow, NumPy and scikit-learn alone."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from segcore.categories import VOC
from segcore.cli import main
from segcore.errors import AnnotationError, UsageError
from segcore.evaluation import evaluate
from segcore.evaluation.evaluate import Run
from segcore.evaluation.protocols import protocol
from segcore.inference.task import Task
from segcore.report import headlines, terms
from segcore.training.settings import TrainSettings
from segcore.training.train import choose_categories, train
from segcore.truth.layouts import open_dataset
from tests.helpers.runs import SHIPPED
from tests.helpers.voc_folder import boxes, label_file, palette_png, write_list, write_voc

pytestmark = pytest.mark.slow

CAT, DOG, PERSON = 8, 12, 15
A, B, C = "2007_000042", "2007_000061", "2008_000009"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, examples_coco):
    """Two small samples with made-up label maps, as photographs of several formats, and blocks of colour."""
    folder = tmp_path_factory.mktemp("voc")
    wide = boxes((160, 240), (CAT, 15, 25, 140, 190), (PERSON, 0, 200, 160, 240), (255, 138, 20, 145, 195))
    square = boxes((128, 128), (PERSON, 20, 30, 128, 100), (255, 0, 100, 128, 104))
    write_voc(folder, {A: wide, B: square, C: boxes((50, 40))})
    for name, number, size in ((A, 2, (240, 160)), (B, 1, (128, 128))):
        photograph = Image.open(examples_coco / "samples" / f"00000090000{number}.jpg").resize(size)
        (folder / "JPEGImages" / f"{name}.jpg").unlink()
        photograph.save(folder / "JPEGImages" / f"{name}.{'png' if name == A else 'avif'}")
    return folder


def scored(folder, tmp_path, *arguments):
    """`evaluate` with the shipped model: the exit status, its JSON and the folder of its label maps."""
    outputs = ["--json", tmp_path / "scores.json", "--save-labels", tmp_path / "labels"]
    common = ["evaluate", "--dataset", folder, "--model", SHIPPED, "--device", "cpu", *outputs]
    status = main.main([*map(str, common), *map(str, arguments)])
    return status, json.loads((tmp_path / "scores.json").read_text(encoding="utf-8")), tmp_path / "labels"


def expected_truth(folder, name, protocol_name):
    stored = Image.open(label_file(folder, name))
    width, height = stored.size
    size = {"original": (width, height), "report": (520, 520)}.get(protocol_name)
    size = size or ((520, int(520 * height / width)) if width < height else (int(520 * width / height), 520))
    return np.asarray(stored.resize(size, Image.Resampling.NEAREST))  # indices, since nearest keeps a palette


def counted_by_hand(folder, record, labels):
    """scikit-learn's confusion matrix of the saved label maps over all pixels whose truth is not 255."""
    total = np.zeros((21, 21), np.int64)
    for row in record["per_image"]:
        truth = expected_truth(folder, row["image_id"], record["protocol"])
        prediction = np.asarray(Image.open(labels / f"{row['image_id']}.png"))
        assert prediction.shape == truth.shape
        total += confusion_matrix(truth[truth != 255], prediction[truth != 255], labels=range(21))
    return total


@pytest.mark.parametrize("name", ["original", "torchvision", "report"])
def test_the_confusion_matrix_is_scikit_learns(folder, name, tmp_path):
    status, record, labels = scored(folder, tmp_path, "--split", "val", "--protocol", name)
    assert status == 0 and record["images"] == 3 and record["skipped"] == []
    assert (record["split"], record["protocol"]) == ("val", name)
    assert [(row["image_id"], row["file_name"]) for row in record["per_image"]] == [
        (A, f"{A}.png"),
        (B, f"{B}.avif"),
        (C, f"{C}.jpg"),
    ]
    np.testing.assert_array_equal(record["confusion"], counted_by_hand(folder, record, labels))
    assert np.array(record["confusion"])[CAT, CAT] > 0


def test_real_voc_is_counted_by_hand(shared_voc, tmp_path):
    status, record, labels = scored(shared_voc, tmp_path, "--split", "val", "--limit", 5)
    assert status == 0 and record["images"] == 5
    assert [row["image_id"] for row in record["per_image"]] == sorted(
        (shared_voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    )[:5]
    matrix = np.zeros((21, 21), np.int64)
    for row in record["per_image"]:
        with Image.open(shared_voc / "SegmentationClass" / f"{row['image_id']}.png") as stored:
            truth = np.array(stored)
        prediction = np.array(Image.open(labels / f"{row['image_id']}.png"))
        counted = truth != 255
        np.add.at(matrix, (truth[counted], prediction[counted]), 1)
    np.testing.assert_array_equal(record["confusion"], matrix)
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    assert record["dataset"]["mean_iou"] == pytest.approx((np.diag(matrix)[union > 0] / union[union > 0]).mean())
    assert record["dataset"]["pixel_accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())


# ------------------------------------------------------------------- with a quick stand-in for the network


def make_run(segmenter, folder, *, ids=None, task=Task(), batch_size=1):  # noqa: B008 (it is frozen)
    dataset = open_dataset(folder)
    return Run(segmenter, dataset, protocol("report"), task, evaluate.choose_images(dataset, image_ids=ids), batch_size)


def test_objects_are_left_out_in_words(quick, folder):  # noqa: F811
    record = evaluate.evaluate(make_run(quick, folder)).to_dict()
    assert record["objects"] is None
    assert all(row["objects_total"] is row["objects_found"] is None for row in record["per_image"])
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    told = headlines.of_evaluation(record)
    assert terms.NO_OBJECTS in told and "objects found" not in told and " of " not in told.splitlines()[-2]


def test_images_are_chosen_by_their_names(quick, folder):  # noqa: F811
    run = make_run(quick, folder, ids=[B, A, B])
    assert [image.id for image in run.images] == [A, B]
    assert run.caption(run.images[0]).startswith(f"image {A} of val - ")
    with pytest.raises(UsageError, match=f"no image '2007' in val; its 3 names go from {A} to {C}"):
        make_run(quick, folder, ids=["2007"])


def test_an_evaluation_goes_on_where_it_was_unless_the_truth_is_another(quick, tmp_path):  # noqa: F811
    folder = write_voc(tmp_path / "voc", {A: boxes((6, 9), (DOG, 0, 0, 3, 3)), B: boxes((6, 9))})
    first = evaluate.evaluate(make_run(quick, folder, ids=[A]), resume=tmp_path / "kept")
    assert quick.predict_logits.batches == [1]
    whole = evaluate.evaluate(make_run(quick, folder), resume=tmp_path / "kept")
    assert quick.predict_logits.batches == [1, 1]
    assert whole.to_dict()["per_image"][0] == first.to_dict()["per_image"][0]
    assert whole.to_dict()["objects"] is None
    palette_png(boxes((6, 9), (CAT, 0, 0, 3, 3))).save(label_file(folder, A))
    again = evaluate.evaluate(make_run(quick, folder), resume=tmp_path / "kept")
    assert quick.predict_logits.batches == [1, 1, 1]
    dogs, cats = (np.array(each.to_dict()["confusion"]).sum(1)[[CAT, DOG]].tolist() for each in (first, again))
    assert dogs[0] == cats[1] == 0 and dogs[1] == cats[0] > 0


def test_binary_mode(quick, folder):  # noqa: F811
    record = evaluate.evaluate(make_run(quick, folder, task=Task("binary", "cat"))).to_dict()
    pixels = sum((expected_truth(folder, name, "report") == CAT).sum() for name in (A, B, C))
    assert np.array(record["confusion"]).sum(1)[1] == pixels
    assert record["objects"] is None


# ------------------------------------------------------------------- the command line


def run(capsys, *arguments):
    status = main.main([str(each) for each in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_reports_say_in_words_that_objects_are_not_counted(folder, tmp_path, capsys):
    outputs = ["--html", tmp_path / "report.html", "--csv", tmp_path / "scores.csv", "--figures", tmp_path / "figures"]
    settings = ["--model", SHIPPED, "--protocol", "report", "--image-ids", f"{A}, {B}"]
    status, out, err = run(capsys, "evaluate", "--dataset", folder, *settings, *outputs)
    assert (status, err) == (0, "")
    assert terms.NO_OBJECTS in out and "objects found" not in out
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert terms.NO_OBJECTS in report
    for told in ("Objects found", "Which objects are found", "no objects to find", "0 of 0"):
        assert told not in report
    rows = list(csv.DictReader((tmp_path / "scores.csv").open(encoding="utf-8")))
    assert [row["image_id"] for row in rows if row["scope"] == "image"] == [A, B]
    assert sorted(each.name for each in (tmp_path / "figures").iterdir()) == [f"{A}.png", f"{B}.png"]


def test_what_is_wrong_is_named_and_the_rest_scored(tmp_path, capsys):
    whole = boxes((6, 9), (DOG, 0, 0, 3, 3))
    folder = write_voc(tmp_path / "voc", {name: whole for name in "abcdef"})
    label_file(folder, "a").unlink()
    (folder / "JPEGImages" / "b.jpg").unlink()
    palette_png(boxes((9, 6))).save(label_file(folder, "c"))
    palette_png(whole).convert("RGB").save(label_file(folder, "d"))
    palette_png(boxes((6, 9), (77, 0, 0, 1, 1))).save(label_file(folder, "e"))
    status, out, err = run(capsys, "evaluate", "--dataset", folder, "--model", SHIPPED, "--json", tmp_path / "s.json")
    assert status == 1
    expected = {
        "a": "there is no SegmentationClass/a.png, the label map of JPEGImages/a.jpg; add it",
        "b": "there is no file b.jpg; check its name",
        "c": "SegmentationClass/c.png is 6 x 9 pixels, but JPEGImages/c.jpg is 9 x 6; ",
        "d": "SegmentationClass/d.png holds colours",
        "e": "SegmentationClass/e.png holds the value 77",
    }
    for (name, reason), line in zip(expected.items(), err.splitlines(), strict=True):
        assert line.startswith(f"segcore: image {name} left out: {reason}")
    record = json.loads((tmp_path / "s.json").read_text())
    assert record["images"] == 1 and [each["image_id"] for each in record["skipped"]] == list("abcde")
    assert "1 image of val" in out


def test_usage_errors(folder, tmp_path, capsys):
    empty = write_voc(tmp_path / "empty", {})
    for arguments, status, message in (
        ((folder, "--split", "test"), 2, "no split 'test'; choose one of: val"),
        ((folder, "--image-ids", "x"), 2, "no image 'x' in val; its 3 names go from"),
        ((empty,), 1, "val.txt names no image; write"),
        ((tmp_path,), 1, "neither annotations/instances_<split>.json"),
    ):
        ended, out, err = run(capsys, "evaluate", "--dataset", *arguments)
        assert (ended, out) == (status, "") and message in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("flag", ["--coco={}", "--dataset={}"])
def test_the_old_name_of_the_flag_works_with_a_notice(folder, examples_coco, flag, capsys):
    for data in (folder, examples_coco):
        status, out, err = run(
            capsys, "evaluate", flag.format(data), "--model", SHIPPED, "--limit", 1, "--protocol", "report"
        )
        assert status == 0 and "pixel_accuracy" in out
        notice = "segcore: --coco is now called --dataset; the old name still works in this version\n"
        assert err == (notice if "--coco" in flag else "")


def test_two_models_are_compared(folder, tmp_path, capsys):
    models = f"{SHIPPED},{SHIPPED}"
    outputs = ["--json", tmp_path / "compared.json", "--html", tmp_path / "compared.html"]
    status, out, err = run(
        capsys, "compare", "--dataset", folder, "--models", models, "--image-ids", f"{A},{B}", *outputs
    )
    assert (status, err) == (0, "") and "first:  2 images of val" in out
    record = json.loads((tmp_path / "compared.json").read_text())
    assert sorted(row["image_id"] for row in record["per_image"]) == [A, B]
    assert "0 of 0" not in (tmp_path / "compared.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------- training


def test_training_on_label_maps(tmp_path, capsys):
    folder = write_voc(tmp_path / "voc", {name: boxes((40, 60), (DOG, 5, 5, 30, 50)) for name in "abcd"})
    write_list(folder, "ab", "train")
    write_list(folder, "cd", "val")
    arguments = ["--split", "train", "--validation-split", "val", "--out", tmp_path / "run", "--precision", "float32"]
    steps = ["--steps", 2, "--batch-size", 2, "--crop", 64]
    status, out, err = run(capsys, "train", "--dataset", folder, *arguments, *steps)
    assert status == 0, err
    status, out, err = run(capsys, "evaluate", "--dataset", folder, "--split", "val", "--model", out.strip())
    assert status == 0 and "2 images of val" in out


def test_training_settings_on_label_maps(folder, tmp_path):
    settings = TrainSettings(coco=folder, out=tmp_path / "run", steps=1)
    assert choose_categories(settings) == VOC
    assert choose_categories(replace(settings, mode="binary", class_name="cat")).names == ("background", "cat")
    with pytest.raises(UsageError, match="label maps do not tell objects apart, so none can be pasted"):
        train(replace(settings, paste=0.5))


def test_training_names_all_that_is_wrong(tmp_path):
    folder = write_voc(tmp_path / "voc", {name: boxes((6, 9)) for name in "abc"})
    label_file(folder, "a").unlink()
    (folder / "JPEGImages" / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(AnnotationError) as caught:
        train(TrainSettings(coco=folder, out=Path(tmp_path, "run"), steps=1))
    message = str(caught.value)
    assert "there is no SegmentationClass/a.png" in message and "b.jpg is not an image" in message
    assert "val has no object of the categories aeroplane" in message
