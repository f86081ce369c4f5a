"""The command line as scripts depend on it: files, keys, exit statuses, and what it says where."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from pycocotools import mask as coco_mask

from segcore import Segmenter
from segcore.categories import Categories
from segcore.cli import main, progress
from segcore.inference import export
from segcore.models import checkpoint
from segcore.models.catalogue import CATALOGUE
from segcore.models.checkpoint import Header

ROOT = Path(__file__).parents[1]
SHIPPED = "deeplabv3_mobilenet_v2"
CAT, PERSON = 8, 15
VOC_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
).split()
VOC_COLORS = [  # as PASCAL VOC's development kit paints them
    *((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)),
    *((128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128)),
    *((64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128)),
]


@pytest.fixture(autouse=True)
def nothing_downloaded(monkeypatch, tmp_path_factory):
    """What `auto` means must not depend on the machine."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))


@pytest.fixture
def run(capsys):
    """Run a command in this process: its exit status and what it wrote."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main.main([str(each) for each in arguments])
        except SystemExit as stopped:  # argparse's way
            status = stopped.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return SimpleNamespace(status=status, out=out, err=err)

    return run


@pytest.fixture(scope="session")
def photographs(examples_coco, tmp_path_factory):
    """Small copies of two samples, for speed: a cat of 150 x 100 and a person of 96 x 96."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, number, size in (("cat", 2, (150, 100)), ("person", 1, (96, 96))):
        picture = Image.open(examples_coco / "samples" / f"00000090000{number}.jpg")
        picture.resize(size).save(folder / f"{name}.jpg", quality=95)
    return folder


@pytest.fixture
def cat(photographs):
    return photographs / "cat.jpg"


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def read_json(file):
    return json.loads(file.read_text(encoding="utf-8"))


def pixels(file):
    return np.asarray(Image.open(file))


# ------------------------------------------------------------------- predict


def test_predict_writes_what_the_contract_names(run, cat, tmp_path):
    done = run("predict", cat, "--out", tmp_path / "out")  # --model auto

    assert (done.status, done.out, done.err) == (0, "", "")
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]

    labels = Image.open(tmp_path / "out" / "cat_labels.png")
    assert labels.mode == "P" and labels.size == (150, 100)
    ids, colors = np.asarray(labels), np.asarray(labels.convert("RGB"))
    assert (ids == CAT).mean() > 0.3 and ids.max() <= 20
    np.testing.assert_array_equal(colors, np.array(VOC_COLORS, np.uint8)[ids])
    assert np.reshape(labels.getpalette(), (-1, 3))[:21].tolist() == [list(color) for color in VOC_COLORS]

    overlay = Image.open(tmp_path / "out" / "cat_overlay.png")
    assert overlay.mode == "RGB" and overlay.size == (150, 100)
    np.testing.assert_array_equal(np.asarray(overlay)[ids == 0], pixels(cat)[ids == 0])
    assert (np.asarray(overlay) != pixels(cat)).any(axis=-1)[ids > 0].mean() > 0.9

    record = read_json(tmp_path / "out" / "cat.json")
    assert set(record) == {
        *("schema", "file", "width", "height", "model", "weights_sha256", "resize", "device", "precision"),
        *("engine", "careful", "calibration", "refine", "seconds", "mode", "classes"),
    }
    assert (record["schema"], record["file"], record["width"], record["height"]) == (1, "cat.jpg", 150, 100)
    assert (record["model"], record["resize"], record["mode"]) == (SHIPPED, "squeeze", "multiclass")
    assert len(record["weights_sha256"]) == 64 and record["seconds"] > 0
    assert [each["id"] for each in record["classes"]][0] == CAT
    assert {each["id"] for each in record["classes"]} == set(np.unique(ids)) - {0}
    for each in record["classes"]:
        assert set(each) == {"id", "name", "pixels", "share", "confidence", "rle"}
        assert each["name"] == VOC_NAMES[each["id"]]
        np.testing.assert_array_equal(coco_mask.decode(each["rle"]), ids == each["id"])
        assert each["pixels"] == (ids == each["id"]).sum()
        assert each["share"] == pytest.approx(each["pixels"] / ids.size)
        assert 0 < each["confidence"] <= 1


def test_predict_cutout_and_probabilities(run, cat, tmp_path):
    done = run("predict", cat, "--out", tmp_path, "--cutout", "--probabilities")

    assert done.status == 0
    assert names(tmp_path) == ["cat.json", "cat.npz", "cat_cutout.png", "cat_labels.png", "cat_overlay.png"]
    ids = pixels(tmp_path / "cat_labels.png")

    cutout = pixels(tmp_path / "cat_cutout.png")
    np.testing.assert_array_equal(cutout[..., 3], np.where(ids > 0, 255, 0))
    np.testing.assert_array_equal(cutout[ids > 0][:, :3], pixels(cat)[ids > 0])
    assert not cutout[ids == 0].any()

    with np.load(tmp_path / "cat.npz") as archive:
        probabilities = archive["probabilities"].astype(np.float64)
        assert archive["classes"].tolist() == VOC_NAMES
    assert probabilities.shape == (21, 100, 150)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=5e-3)
    highest = np.sort(probabilities, axis=0)
    clear = highest[-1] - highest[-2] > 1e-3
    np.testing.assert_array_equal(probabilities.argmax(axis=0)[clear], ids[clear])
    for each in read_json(tmp_path / "cat.json")["classes"]:
        own = probabilities[each["id"]][ids == each["id"]]
        assert each["confidence"] == pytest.approx(own.mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "classes"),
    [
        (("--class", "cat"), {CAT: "cat"}),
        (("--class", "cat", "--threshold", "auto"), {CAT: "cat"}),
        (("--class", "CAT", "--threshold", "0.3"), {CAT: "cat"}),
        (("--class", "potted plant", "--threshold", "0"), {16: "pottedplant"}),
        (("--class", "airplane", "--threshold", "1"), {}),
        ((), {None: "any"}),
    ],
)
def test_predict_in_binary_mode(run, cat, tmp_path, arguments, classes):
    done = run("predict", cat, "--out", tmp_path, "--mode", "binary", *arguments)

    assert done.status == 0
    record, ids = read_json(tmp_path / "cat.json"), pixels(tmp_path / "cat_labels.png")
    assert record["mode"] == "binary"
    assert {each["id"]: each["name"] for each in record["classes"]} == classes
    for each in record["classes"]:
        expected = ids > 0 if each["id"] is None else ids == each["id"]
        np.testing.assert_array_equal(coco_mask.decode(each["rle"]), expected)
        assert each["pixels"] == expected.sum() > 0
    if None not in classes:
        assert set(np.unique(ids)) <= {0, *classes}


def test_predict_resize_and_precision_are_recorded(run, cat, tmp_path):
    arguments = ("--model", SHIPPED, "--resize", "aspect", "--precision", "float32", "--device", "cpu")
    assert run("predict", cat, "--out", tmp_path, *arguments).status == 0
    record = read_json(tmp_path / "cat.json")
    assert (record["resize"], record["precision"], record["device"]) == ("aspect", "float32", "cpu")
    assert (record["width"], record["height"]) == (150, 100)


def test_refined_edges_are_asked_for_and_recorded(run, cat, photographs, tmp_path):
    pytest.importorskip("cv2")
    for refine in ("none", "edges"):
        assert run("predict", cat, "--out", tmp_path / refine, "--refine", refine).status == 0
    plain, refined = (read_json(tmp_path / each / "cat.json") for each in ("none", "edges"))
    assert (plain["refine"], refined["refine"]) == (None, "edges")
    before, after = (pixels(tmp_path / each / "cat_labels.png") for each in ("none", "edges"))
    assert 0 < (before != after).mean() < 0.1
    done = run("predict", cat, "--out", tmp_path / "crf", "--refine", "crf")
    assert done.status == 2 and "no refinement 'crf'" in done.err


def test_predict_folders_and_files_with_names_in_common(run, photographs, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    shutil.copy(photographs / "cat.jpg", first / "a.jpg")
    shutil.copy(photographs / "person.jpg", first / "UPPER.JPG")
    (first / "notes.txt").write_text("no photograph")
    shutil.copy(photographs / "person.jpg", second / "a.jpg")
    Image.open(photographs / "cat.jpg").resize((60, 40)).save(second / "a.png")

    done = run("predict", first, second / "a.jpg", second / "a.png", first / "a.jpg", "--out", tmp_path / "out")

    assert (done.status, done.err) == (0, "")
    records = {file.stem: read_json(file) for file in (tmp_path / "out").glob("*.json")}
    sizes = sorted((each["file"], each["width"], each["height"]) for each in records.values())
    assert sizes == [("UPPER.JPG", 96, 96), ("a.jpg", 96, 96), ("a.jpg", 150, 100), ("a.png", 60, 40)]
    assert {"a", "UPPER"} < set(records) and records["a"]["width"] == 150
    for stem, record in records.items():
        assert Image.open(tmp_path / "out" / f"{stem}_labels.png").size == (record["width"], record["height"])
        assert (tmp_path / "out" / f"{stem}_overlay.png").exists()


def test_predict_names_a_folder_without_images(run, cat, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no photograph")
    done = run("predict", tmp_path / "empty", cat, "--out", tmp_path / "out")
    assert (done.status, done.err) == (1, f"segcore: {tmp_path / 'empty'}: there are no images in this folder\n")
    assert "cat.json" in names(tmp_path / "out")


def test_predict_keeps_names_apart_that_a_disk_may_take_for_one(run, cat, tmp_path):
    stems = ["IMG", "img", "Caf\u00e9", "cafe\u0301"]
    for number, stem in enumerate(stems):
        (tmp_path / str(number)).mkdir()
        shutil.copy(cat, tmp_path / str(number) / f"{stem}.jpg")
    assert run("predict", *(tmp_path / str(number) for number in range(4)), "--out", tmp_path / "out").status == 0
    written = [unicodedata.normalize("NFD", name).lower() for name in names(tmp_path / "out")]
    assert len(written) == len(set(written)) == 4 * 3


def test_predict_names_what_fails_and_does_the_rest(run, cat, tmp_path):
    broken, text = tmp_path / "broken.jpg", tmp_path / "text.jpg"
    broken.write_bytes(cat.read_bytes()[:700])
    text.write_text("no photograph")

    done = run("predict", broken, tmp_path / "absent.jpg", text, cat, "--out", tmp_path / "out")

    assert (done.status, done.out) == (1, "")
    lines = done.err.splitlines()
    assert [str(each) in line for each, line in zip((broken, tmp_path / "absent.jpg", text), lines, strict=True)]
    assert "cut short" in lines[0] and "no file absent.jpg" in lines[1] and "not an image" in lines[2]
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]


def test_predict_file_names_of_all_kinds(run, cat, tmp_path):
    stems = ["ein schöner Tag", "猫 и кот", "two.dots", "-dash", "100%{stem}"]
    folder, out = tmp_path / "in put", tmp_path / "out put ☂"
    folder.mkdir()
    for stem in stems:
        shutil.copy(cat, folder / f"{stem}.jpg")
    assert run("predict", folder, "--out", out).status == 0
    assert names(out) == sorted(f"{stem}{end}" for stem in stems for end in (".json", "_labels.png", "_overlay.png"))
    assert all(read_json(out / f"{stem}.json")["file"] == f"{stem}.jpg" for stem in stems)


def test_predict_finds_avif_in_a_folder(run, cat, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.open(cat).save(folder / "cat.avif", quality=90)
    done = run("predict", folder, "--out", tmp_path / "out")
    assert (done.status, done.err) == (0, "")
    assert (pixels(tmp_path / "out" / "cat_labels.png") == CAT).mean() > 0.3


def test_predict_leaves_out_hidden_files_of_a_folder(run, cat, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    shutil.copy(cat, folder)
    for name in ("._cat.jpg", ".part-12345678.png"):  # a Mac's, and what a killed program leaves
        (folder / name).write_bytes(b"no image")
    done = run("predict", folder, "--out", tmp_path / "out")
    assert (done.status, done.err) == (0, "")
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]


def test_predict_turns_photographs_upright(run, cat, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # stored lying on its side
    stored = Image.open(cat).transpose(Image.Transpose.ROTATE_90)
    assert stored.size == (100, 150)
    stored.save(tmp_path / "phone.jpg", exif=exif, quality=95)

    assert run("predict", tmp_path / "phone.jpg", "--out", tmp_path / "out", "--cutout").status == 0

    record = read_json(tmp_path / "out" / "phone.json")
    assert (record["width"], record["height"]) == (150, 100)
    for kind in ("labels", "overlay", "cutout"):
        picture = Image.open(tmp_path / "out" / f"phone_{kind}.png")
        assert picture.size == (150, 100) and not picture.getexif()
    assert all(each["rle"]["size"] == [100, 150] for each in record["classes"])
    assert (pixels(tmp_path / "out" / "phone_labels.png") == CAT).mean() > 0.3


def test_predict_stopped_by_the_user(run, photographs, monkeypatch, tmp_path):
    ask = Segmenter.__call__

    def interrupted_at_the_second(self, source):
        if source.name == "person.jpg":
            raise KeyboardInterrupt
        return ask(self, source)

    monkeypatch.setattr(Segmenter, "__call__", interrupted_at_the_second)
    done = run("predict", photographs, "--out", tmp_path)
    assert (done.status, done.err.splitlines()[-1]) == (1, "segcore: stopped")
    assert names(tmp_path) == ["cat.json", "cat_labels.png", "cat_overlay.png"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_bars_are_for_terminals(run, cat, examples_coco, monkeypatch, tmp_path):
    evaluate = ("evaluate", "--dataset", examples_coco, "--limit", "1", "--protocol", "report")
    assert run(*evaluate).err == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main.main(["predict", str(cat), "--out", str(tmp_path)]) == 0
    assert "predict: 100%" in sys.stderr.getvalue() and "1/1" in sys.stderr.getvalue()
    assert main.main([str(each) for each in evaluate]) == 0
    assert "evaluate: 100%" in sys.stderr.getvalue()


def test_a_log_is_told_now_and_then_how_far_it_is(run, photographs, examples_coco, monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    done = run("predict", photographs, "--out", tmp_path)
    assert re.fullmatch(r"segcore: predict: 1 of 2 images, about \d+ min left\n", done.err)
    done = run("evaluate", "--dataset", examples_coco, "--limit", "2", "--protocol", "report")
    assert re.match(r"segcore: evaluate: 0 of 2 images\nsegcore: evaluate: 1 of 2 images, about", done.err)


def test_results_are_written_while_the_network_looks_at_the_next(run, cat, monkeypatch, tmp_path):
    """What is told still comes in the order of the files."""
    folder, looks, written = tmp_path / "in", threading.Semaphore(0), []
    folder.mkdir()
    for number in range(4):
        shutil.copy(cat, folder / f"{number}.jpg")
    (folder / "2.jpg").write_bytes(b"")
    ask, write = Segmenter.__call__, export.write_results

    def looked_at(self, source):
        looks.release()
        return ask(self, source)

    def written_late(result, task, name, *rest, **options):
        if name == "0.jpg":
            assert looks.acquire(timeout=60) and looks.acquire(timeout=60)  # the second photograph is looked at
        written.append(name)
        write(result, task, name, *rest, **options)
        if name == "1.jpg":
            raise OSError("no luck")

    monkeypatch.setattr(Segmenter, "__call__", looked_at)
    monkeypatch.setattr(export, "write_results", written_late)
    done = run("predict", folder, "--out", tmp_path / "out")
    assert sorted(written) == ["0.jpg", "1.jpg", "3.jpg"] and done.status == 1
    assert [line.partition(": no luck")[0].partition(": 2")[0] for line in done.err.splitlines()] == [
        f"segcore: {folder / '1.jpg'}",
        f"segcore: {folder / '2.jpg'}",
    ]


# ------------------------------------------------------------------- evaluate


def test_evaluate_writes_what_was_asked_for(run, examples_coco, tmp_path):
    outputs = [part for kind in ("json", "csv") for part in (f"--{kind}", tmp_path / "new" / f"scores.{kind}")]
    outputs += [part for kind in ("figures", "save-labels") for part in (f"--{kind}", tmp_path / kind)]

    done = run("evaluate", "--dataset", examples_coco, "--split", "samples", "--limit", 2, *outputs)

    assert (done.status, done.err) == (0, "")
    record = read_json(tmp_path / "new" / "scores.json")
    assert (record["images"], record["split"], record["protocol"]) == (2, "samples", "original")
    assert (record["resize"], record["precision"]) == ("squeeze", "float32")
    assert f"{record['dataset']['mean_iou']:.4f}" in done.out and "protocol original" in done.out

    rows = list(csv.DictReader((tmp_path / "new" / "scores.csv").open(encoding="utf-8", newline="")))
    assert float(rows[0]["mean_iou"]) == record["dataset"]["mean_iou"]
    assert {row["name"] for row in rows if row["scope"] == "image"} == {"000000000542.jpg", "000000122745.jpg"}

    expected = ["000000000542.png", "000000122745.png"]
    assert names(tmp_path / "figures") == names(tmp_path / "save-labels") == expected
    for name in expected:
        photograph = Image.open(examples_coco / "samples" / name.replace("png", "jpg"))
        labels, figure = Image.open(tmp_path / "save-labels" / name), Image.open(tmp_path / "figures" / name)
        assert (labels.format, labels.mode, labels.size) == ("PNG", "L", photograph.size)
        assert figure.format == "PNG" and figure.width > figure.height  # three panels side by side
        figure.load()


def test_evaluate_in_binary_mode_saves_zeros_and_ones(run, examples_coco, tmp_path):
    arguments = ("--mode", "binary", "--class", "person", "--image-ids", "900004", "--protocol", "report")
    outputs = ("--save-labels", tmp_path / "labels", "--figures", tmp_path / "figures", "--json", tmp_path / "a.json")
    assert run("evaluate", "--dataset", examples_coco, *arguments, *outputs).status == 0
    labels = Image.open(tmp_path / "labels" / "000000900004.png")
    assert labels.size == (520, 520) and np.unique(labels).tolist() == [0, 1]
    assert Image.open(tmp_path / "figures" / "000000900004.png").format == "PNG"
    record = read_json(tmp_path / "a.json")
    assert (record["class"], record["threshold"], np.shape(record["confusion"])) == ("person", "auto", (2, 2))


@pytest.fixture
def two_images(examples_coco, tmp_path):
    """A COCO folder of two small photographs in sub-folders, called alike."""
    document = read_json(examples_coco / "annotations" / "instances_samples.json")
    document["images"] = [each for each in document["images"] if each["id"] in (900001, 900002)]
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] in (900001, 900002)]
    for image in document["images"]:
        name = f"{image['id']}/photo.jpg"
        (tmp_path / "coco" / "all" / name).parent.mkdir(parents=True)
        shutil.copy(examples_coco / "samples" / image["file_name"], tmp_path / "coco" / "all" / name)
        image["file_name"] = name
    (tmp_path / "coco" / "annotations").mkdir()
    (tmp_path / "coco" / "annotations" / "instances_all.json").write_text(json.dumps(document))
    return tmp_path / "coco"


def test_evaluate_keeps_images_apart_that_are_called_alike(run, two_images, tmp_path):
    assert run("evaluate", "--dataset", two_images, "--save-labels", tmp_path / "labels").status == 0
    sizes = sorted(Image.open(file).size for file in (tmp_path / "labels").iterdir())
    assert sizes == [(451, 300), (512, 512)]
    assert "photo.png" in names(tmp_path / "labels")


def test_evaluate_names_what_fails_and_scores_the_rest(run, two_images, tmp_path):
    cut = two_images / "all" / "900001" / "photo.jpg"
    cut.write_bytes(cut.read_bytes()[:5000])
    done = run("evaluate", "--dataset", two_images, "--json", tmp_path / "scores.json")

    assert done.status == 1
    assert "900001" in done.err and "cut short" in done.err and len(done.err.splitlines()) == 1
    record = read_json(tmp_path / "scores.json")
    assert record["images"] == 1 and record["per_image"][0]["image_id"] == 900002
    (skipped,) = record["skipped"]
    assert (skipped["image_id"], skipped["file_name"]) == (900001, "900001/photo.jpg")
    assert "1 image of" in done.out


@pytest.fixture
def one_bad_polygon(two_images):
    """Of the image 900001."""
    file = two_images / "annotations" / "instances_all.json"
    document = read_json(file)
    next(each for each in document["annotations"] if each["image_id"] == 900001)["segmentation"] = [[1, 2, 3]]
    file.write_text(json.dumps(document))
    return two_images


def test_evaluate_says_how_to_leave_out_what_is_broken(run, one_bad_polygon):
    done = run("evaluate", "--dataset", one_bad_polygon)
    assert (done.status, done.out) == (1, "")
    assert "3 or more x, y pairs" in done.err and "leave the images concerned out with --skip-bad" in done.err


def test_evaluate_leaves_images_with_broken_annotations_out(run, one_bad_polygon, tmp_path):
    done = run("evaluate", "--dataset", one_bad_polygon, "--skip-bad", "--json", tmp_path / "scores.json")
    (line,) = done.err.splitlines()
    assert done.status == 1 and line.startswith("segcore: image 900001 left out:") and "3 or more x, y pairs" in line
    record = read_json(tmp_path / "scores.json")
    assert [each["image_id"] for each in record["per_image"]] == [900002]
    assert [each["image_id"] for each in record["skipped"]] == [900001]


def test_evaluate_names_broken_records_of_no_image(run, one_bad_polygon):
    file = one_bad_polygon / "annotations" / "instances_all.json"
    document = read_json(file)
    document["images"][0]["width"] = "wide"
    document["annotations"][-1]["image_id"] = 5
    file.write_text(json.dumps(document))
    done = run("evaluate", "--dataset", one_bad_polygon, "--skip-bad")
    assert done.status == 1 and "1 image of" in done.out
    assert [line.partition(": left out: ")[0] for line in done.err.splitlines()] == ["segcore"] * 2
    assert "'width' must be an integer" in done.err and "'image_id' is 5, which the file does not describe" in done.err
    document["images"][1]["width"] = "wide"
    file.write_text(json.dumps(document))
    done = run("evaluate", "--dataset", one_bad_polygon, "--skip-bad")
    assert done.status == 1 and "no image is left to be scored" in done.err


def test_figures_and_labels_take_a_folder_each(run, two_images, tmp_path):
    done = run("evaluate", "--dataset", two_images, "--figures", tmp_path / "a", "--save-labels", tmp_path / "a")
    assert done.status == 2 and "name two folders" in done.err


def test_evaluate_resumes(run, examples_coco, tmp_path):
    arguments = ("evaluate", "--dataset", examples_coco, "--limit", 1, "--protocol", "report")
    first = run(*arguments, "--resume", tmp_path / "resume")
    again = run(*arguments, "--resume", tmp_path / "resume", "--save-labels", tmp_path / "labels")
    assert first.status == again.status == 0 and first.out == again.out
    assert names(tmp_path / "labels") == []  # nothing was scored anew

    other = run(*arguments, "--resume", tmp_path / "resume", "--resize", "aspect", "--mode", "binary")
    assert other.status == 2 and "other settings" in other.err


def test_evaluate_without_its_folder(run, tmp_path):
    done = run("evaluate", "--dataset", tmp_path / "absent")
    assert done.status == 1 and "there is no folder" in done.err and "absent; name one with" in done.err
    assert len(done.err.splitlines()) == 1


def test_evaluate_writes_a_report_that_needs_nothing_else(run, two_images, tmp_path):
    done = run(
        "evaluate", "--dataset", two_images, "--html", tmp_path / "out" / "report.html", "--json", tmp_path / "s.json"
    )
    assert done.status == 0
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    record = read_json(tmp_path / "s.json")
    assert f"{record['dataset']['mean_iou']:.4f}" in report
    assert report.count("data:image/png;base64,") == 2 and "Worst: " in report
    assert not re.search(r"(src|href)=.(?!data:|#)", report)


# ------------------------------------------------------------------- compare


def test_compare_two_models(run, two_images, tmp_path):
    models = f"{SHIPPED},{SHIPPED}"
    outputs = ["--json", tmp_path / "c.json", "--html", tmp_path / "c.html", "--resume", tmp_path / "kept"]
    done = run("compare", "--dataset", two_images, "--models", models, *outputs)

    assert done.status == 0 and done.err == ""
    assert done.out.splitlines()[0].startswith("first:  2 images of ")
    record = read_json(tmp_path / "c.json")
    assert record["images"] == 2 and record["first"]["model"] == record["second"]["model"] == SHIPPED
    for row in record["dataset"].values():
        assert row["difference"] in (0, None) and row["first"] == row["second"]
    assert "Compared with another run" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert names(tmp_path / "kept") == ["first", "second"]


@pytest.mark.parametrize("models", [SHIPPED, f"{SHIPPED},{SHIPPED},{SHIPPED}", f"{SHIPPED},nothing"])
def test_compare_takes_two_models_that_there_are(run, two_images, models):
    done = run("compare", "--dataset", two_images, "--models", models)
    assert done.status == 2 and ("two models" in done.err or "there is no model 'nothing'" in done.err)


def test_compare_takes_models_of_the_same_categories(run, two_images, tmp_path):
    provenance = {"made_by": "a test"}
    header = Header(SHIPPED, Categories.of("giraffe"), 520, (0.5,) * 3, (0.2,) * 3, provenance)
    checkpoint.write(tmp_path / "giraffes.safetensors", header, {"weight": torch.zeros(1)})
    done = run("compare", "--dataset", two_images, "--models", f"{SHIPPED},{tmp_path / 'giraffes.safetensors'}")
    assert done.status == 2 and "tell different things apart" in done.err


# ------------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "COMMAND"),
        (("segment",), "invalid choice: 'segment'"),
        (("predict", "PHOTO"), "--out"),
        (("predict", "EMPTY", "--out", "OUT"), "no images in .*empty"),
        (("predict", "PHOTO", "--out", "PHOTO"), "cat.jpg is not a folder"),
        (("predict", "PHOTO", "--out", "PHOTO/sub"), "not a folder"),
        (("predict", "PHOTO", "--out", "OUT", "--model", "yolo"), "no model 'yolo'.*deeplabv3_resnet101"),
        (("predict", "PHOTO", "--out", "OUT", "--mode", "binary", "--class", "unicorn"), "no class 'unicorn'.*sheep"),
        (("predict", "PHOTO", "--out", "OUT", "--mode", "binary", "--class", "background"), "no object"),
        (("predict", "PHOTO", "--out", "OUT", "--mode", "panoptic"), "invalid choice: 'panoptic'"),
        (("predict", "PHOTO", "--out", "OUT", "--threshold", "2"), "from 0 to 1.*got 2"),
        (("predict", "PHOTO", "--out", "OUT", "--threshold", "nan"), "from 0 to 1.*got nan"),
        (("predict", "PHOTO", "--out", "OUT", "--threshold", "half"), "--threshold: expected auto or a.*'half'"),
        (("predict", "PHOTO", "--out", "OUT", "--resize", "crop"), "invalid choice: 'crop'"),
        (("predict", "PHOTO", "--out", "OUT", "--device", "tpu"), "device 'tpu' is not available.*cpu"),
        (("predict", "PHOTO", "--out", "OUT", "--precision", "int4"), "precision 'int4'.*float32"),
        (("evaluate",), "--dataset"),
        (("evaluate", "--dataset", "COCO", "--split", "test"), "no split 'test'.*samples"),
        (("evaluate", "--dataset", "COCO", "--protocol", "voc"), "no protocol 'voc'.*torchvision"),
        (("evaluate", "--dataset", "COCO", "--limit", "0"), "at least 1 image, got 0"),
        (("evaluate", "--dataset", "COCO", "--limit", "few"), "--limit: invalid int value: 'few'"),
        (("evaluate", "--dataset", "COCO", "--batch-size", "0"), "at least 1 image, got 0"),
        (("evaluate", "--dataset", "COCO", "--image-ids", "1"), "no image 1 in samples.*542"),
        (("evaluate", "--dataset", "COCO", "--image-ids", "a,b"), "no image 'a' in samples; ids are numbers.*900006"),
        (("evaluate", "--dataset", "COCO", "--json", "EMPTY"), "empty is a folder; name a file"),
        (("evaluate", "--dataset", "COCO", "--csv", "PHOTO/a.csv"), "not a folder"),
        (("evaluate", "--dataset", "COCO", "--figures", "PHOTO"), "cat.jpg is not a folder"),
        (("evaluate", "--dataset", "COCO", "--save-labels", "PHOTO"), "cat.jpg is not a folder"),
        (("evaluate", "--dataset", "COCO", "--resume", "PHOTO"), "cat.jpg is not a folder"),
        (("fetch-weights", "yolo"), "no model 'yolo'.*deeplabv3_resnet50"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage(run, cat, examples_coco, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("COLUMNS", "200")
    empty = tmp_path / "empty"
    empty.mkdir()
    places = {"PHOTO": cat, "COCO": examples_coco, "EMPTY": empty, "OUT": tmp_path / "out"}
    for word, place in places.items():
        arguments = [each.replace(word, str(place)) for each in arguments]

    done = run(*arguments)

    assert done.status == 2 and done.out == ""
    assert re.search(message, done.err)


# ------------------------------------------------------------------- models, fetch-weights


def test_models_lists_the_catalogue(run):
    done = run("models")
    assert (done.status, done.err) == (0, "")
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.startswith("deeplabv3")}
    assert list(lines) == list(CATALOGUE)
    assert "67.4 %" in lines["deeplabv3_resnet101"] and "92.4 %" in lines["deeplabv3_resnet101"]
    assert lines["deeplabv3_resnet101"].endswith("no") and lines[SHIPPED].endswith("yes")


def test_weights_that_are_not_on_disk(run, cat, tmp_path):
    done = run("predict", cat, "--out", tmp_path / "out", "--model", "deeplabv3_resnet101")
    assert done.status == 1 and "python -m segcore fetch-weights deeplabv3_resnet101" in done.err


def test_fetch_weights_of_the_shipped_model_are_here_already(run):
    done = run("fetch-weights", SHIPPED)
    assert (done.status, done.err) == (0, "") and Path(done.out.strip()).is_file()


def test_a_former_models_name_is_accepted_with_a_line(run, cat, two_images, tmp_path):
    former = "deeplabv3_efficientnet_lite0"
    for command in (
        ("predict", cat, "--out", tmp_path, "--model", former),
        ("fetch-weights", former),
        ("compare", "--dataset", two_images, "--models", f"{former},{SHIPPED}", "--limit", "1"),
    ):
        done = run(*command)
        assert done.status == 0
        (line,) = done.err.splitlines()
        assert line.startswith(f"segcore: the model '{former}' was replaced by '{SHIPPED}'")
    assert read_json(tmp_path / "cat.json")["model"] == SHIPPED


def test_a_file_trained_on_a_former_network_errors(run, cat, tmp_path):
    header = Header("deeplabv3_efficientnet_lite0", Categories.of("giraffe"), 520, (0.5,) * 3, (0.2,) * 3, {})
    checkpoint.write(tmp_path / "mine.safetensors", header, {"weight": torch.zeros(1)})
    done = run("predict", cat, "--out", tmp_path / "out", "--model", tmp_path / "mine.safetensors")
    (line,) = done.err.splitlines()
    assert done.status == 1 and "mine.safetensors" in line and "no longer part of segcore; train it again" in line


def test_fetch_weights_errors(run):
    done = run("fetch-weights", "deeplabv3_resnet50", "--base-url", "ftp://mirror")
    assert done.status == 1 and "ftp://mirror/deeplabv3_resnet50_coco-" in done.err
    assert len(done.err.splitlines()) == 1


# ------------------------------------------------------------------- as a program


def program(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "segcore", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_program_help():
    done = program("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert all(command in done.stdout for command in ("predict", "evaluate", "models", "fetch-weights"))


def test_program_without_a_command():
    done = program()
    assert done.returncode == 2 and done.stdout == "" and "usage:" in done.stderr


def test_program_predicts_and_says_only_what_failed(cat, tmp_path):
    shutil.copy(cat, tmp_path / "mein Kätzchen.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"")
    done = program("predict", tmp_path, "--out", tmp_path / "out", "--cutout", PYTHONIOENCODING="utf-8")

    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        f"segcore: {tmp_path / 'broken.jpg'}: broken.jpg is empty (0 bytes); give it again, or another copy of it"
    ]
    stem = "mein Kätzchen"
    assert names(tmp_path / "out") == sorted(
        [f"{stem}.json", f"{stem}_cutout.png", f"{stem}_labels.png", f"{stem}_overlay.png"]
    )


@pytest.mark.parametrize("options", [["--class", "dog"], ["--threshold", "0.5"]])
def test_what_binary_mode_alone_can_answer_is_not_ignored(examples_coco, tmp_path, capsys, options):
    photograph = examples_coco / "samples" / "000000900005.jpg"
    assert main.main(["predict", str(photograph), "--out", str(tmp_path), *options]) == 2
    assert "--mode binary" in capsys.readouterr().err


PROGRAM = [sys.executable, "-m", "segcore"]
CLOSED = ["sh", "-c", 'exec "$@" 2>&-', "sh"]  # what follows runs without a stderr
on_posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


@on_posix
def test_program_without_stderr(cat, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(cat.read_bytes()[:700])
    command = [*CLOSED, *PROGRAM, "predict", cat, broken, "--out", tmp_path / "out", "--model", SHIPPED]
    done = subprocess.run([str(each) for each in command], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert names(tmp_path / "out") == ["cat.json", "cat_labels.png", "cat_overlay.png"]
    for name in ("cat_labels.png", "cat_overlay.png"):  # no library's complaints have gone into them
        Image.open(tmp_path / "out" / name).verify()


@on_posix
def test_program_whose_reader_has_left():
    command = ["sh", "-c", '"$@" | true', "sh", *PROGRAM, "models"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("module", ["typing", "segcore.cli.main", "tqdm", "numpy", "torch", "torchvision"])
def test_program_stopped_while_it_starts(cat, tmp_path, module):
    """The user presses Ctrl-C just when this module is looked for."""
    program = f"""
import os, runpy, signal, sys

class Stop:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts tests in the background may have it ignored
sys.meta_path.insert(0, Stop())
runpy.run_module("segcore", run_name="__main__", alter_sys=True)
"""
    model = "deeplabv3_resnet50" if module == "torchvision" else SHIPPED
    command = [sys.executable, "-c", program, "predict", cat, "--out", tmp_path / "out", "--model", model]
    done = subprocess.run([str(each) for each in command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "segcore: stopped\n")
