"""`segcore evaluate`: its files, what it leaves out, and how it goes on."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.cli.outputs import names, read_json


@pytest.mark.slow
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


@pytest.mark.slow
def test_evaluate_in_binary_mode_saves_zeros_and_ones(run, examples_coco, tmp_path):
    arguments = ("--mode", "binary", "--class", "person", "--image-ids", "900004", "--protocol", "report")
    outputs = ("--save-labels", tmp_path / "labels", "--figures", tmp_path / "figures", "--json", tmp_path / "a.json")
    assert run("evaluate", "--dataset", examples_coco, *arguments, *outputs).status == 0
    labels = Image.open(tmp_path / "labels" / "000000900004.png")
    assert labels.size == (520, 520) and np.unique(labels).tolist() == [0, 1]
    assert Image.open(tmp_path / "figures" / "000000900004.png").format == "PNG"
    record = read_json(tmp_path / "a.json")
    assert (record["class"], record["threshold"], np.shape(record["confusion"])) == ("person", "auto", (2, 2))


@pytest.mark.slow
def test_evaluate_keeps_images_apart_that_are_called_alike(run, two_images, tmp_path):
    assert run("evaluate", "--dataset", two_images, "--save-labels", tmp_path / "labels").status == 0
    sizes = sorted(Image.open(file).size for file in (tmp_path / "labels").iterdir())
    assert sizes == [(451, 300), (512, 512)]
    assert "photo.png" in names(tmp_path / "labels")


@pytest.mark.slow
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


@pytest.mark.slow
def test_evaluate_leaves_images_with_broken_annotations_out(run, one_bad_polygon, tmp_path):
    done = run("evaluate", "--dataset", one_bad_polygon, "--skip-bad", "--json", tmp_path / "scores.json")
    (line,) = done.err.splitlines()
    assert done.status == 1 and line.startswith("segcore: image 900001 left out:") and "3 or more x, y pairs" in line
    record = read_json(tmp_path / "scores.json")
    assert [each["image_id"] for each in record["per_image"]] == [900002]
    assert [each["image_id"] for each in record["skipped"]] == [900001]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_evaluate_writes_a_report_that_needs_nothing_else(run, two_images, tmp_path):
    done = run(
        "evaluate", "--dataset", two_images, "--html", tmp_path / "out" / "report.html", "--json", tmp_path / "s.json"
    )
    assert done.status == 0
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    record = read_json(tmp_path / "s.json")
    assert f"{record['dataset']['mean_iou']:.4f}" in report
    assert report.count("data:image/png;base64,") == 2 + 2 and "Worst: " in report and "Label quality" in report
    assert not re.search(r"(src|href)=.(?!data:|#)", report)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--json", "one.file", "--csv", "one.file"), "--json and --csv are the same file"),
        (("--csv", "one.file", "--html", "new/../one.file"), "--csv and --html are the same file"),
        (("--csv", "tags.csv", "--tags", "tags.csv"), "--csv and --tags are the same file"),
        (("--json", "coco/annotations/instances_all.json"), "--json and the ground truth of --dataset are the same"),
        (("--html", "coco/all/900001/photo.jpg"), "photo.jpg is an image, which would be overwritten"),
    ],
)
def test_evaluate_never_replaces_a_file_that_it_needs(run, two_images, tmp_path, monkeypatch, flags, problem):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tags.csv").write_text("image,weather\n900001,rain\n")
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    before = {each: each.read_bytes() for each in files}

    done = run("evaluate", "--dataset", two_images, *flags)

    assert done.status == 2 and problem in done.err
    assert {each: each.read_bytes() for each in files} == before and not (tmp_path / "one.file").exists()


def test_evaluate_says_that_there_is_nothing_to_score(run, two_images):
    file = two_images / "annotations" / "instances_all.json"
    file.write_text(json.dumps(read_json(file) | {"images": [], "annotations": []}))
    done = run("evaluate", "--dataset", two_images)
    assert done.status == 1 and "instances_all.json holds no images, so nothing can be scored" in done.err
