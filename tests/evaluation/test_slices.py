"""The scores of a part of a data set are those of an evaluation of its images alone."""

import json

import numpy as np
import pytest
from PIL import Image

from segcore.evaluation import evaluate
from segcore.evaluation.slices import brightness
from segcore.truth.coco import CocoDataset
from segcore.truth.tags import Tags
from tests.helpers.runs import make_run
from tests.helpers.samples import CAT, DOG, NINE, PARROT, PIZZA


@pytest.fixture
def outcome(quick, nine_coco):
    return evaluate.evaluate(make_run(quick, nine_coco))


def by_name(parts):
    return {part["name"]: part for part in parts}


@pytest.mark.slow
def test_a_tag_is_scored_as_its_images_alone(outcome, quick, nine_coco):
    pets = {CAT: "cat", DOG: "dog", PARROT: "cat"}
    [cat, dog] = outcome.to_dict(Tags({"pet": pets}))["slices"]["tags"]["pet"]
    alone = evaluate.evaluate(make_run(quick, nine_coco, ids=[CAT, PARROT])).to_dict()
    assert (cat["name"], cat["images"], dog["name"], dog["images"]) == ("cat", 2, "dog", 1)
    for key in ("mean_iou", "foreground_mean_iou"):
        assert cat[key] == alone["dataset"][key]
        assert cat["intervals"][key] == alone["intervals"]["dataset"][key]
    assert dog["intervals"] == {"mean_iou": None, "foreground_mean_iou": None}  # one image says nothing of others


@pytest.mark.slow
def test_every_image_is_in_one_part_of_each_kind(outcome, nine_coco):
    slices = outcome.to_dict()["slices"]
    assert slices.pop("tags") == {}
    for kind, parts in slices.items():
        assert sum(part["images"] for part in parts) == len(NINE), kind


@pytest.mark.slow
def test_parts_by_objects_are_those_of_the_annotations(outcome, nine_coco):
    """Counted anew from COCO's own areas, which the samples' annotations give."""
    dataset = CocoDataset.open(nine_coco)
    areas = {number: [int(mask.sum()) for _, mask in dataset.masks(number)] for number in NINE}
    largest = [max(each, default=None) for each in areas.values()]
    parts = by_name(outcome.to_dict()["slices"]["object_size"])
    assert parts["no object"]["images"] == largest.count(None)
    assert parts["large"]["images"] == sum(area is not None and area >= 96**2 for area in largest)
    numbers = [len(each) for each in areas.values()]
    parts = by_name(outcome.to_dict()["slices"]["objects"])
    assert {name: part["images"] for name, part in parts.items()} == {
        name: count
        for name, count in (
            ("no object", numbers.count(0)),
            ("1 object", numbers.count(1)),
            ("2 to 4 objects", sum(2 <= number <= 4 for number in numbers)),
            ("5 objects and more", sum(number >= 5 for number in numbers)),
        )
        if count
    }


@pytest.mark.slow
def test_brightness_is_the_mean_luma(outcome, nine_coco):
    rows = {row["image_id"]: row["brightness"] for row in outcome.to_dict()["per_image"]}
    dataset = CocoDataset.open(nine_coco)
    for number in (CAT, PIZZA):
        luma = dataset.read_image(number) @ np.array([0.299, 0.587, 0.114])
        assert rows[number] == pytest.approx(luma.mean(), abs=1)
    parts = by_name(outcome.to_dict()["slices"]["brightness"])
    dark, bright = sum(light < 90 for light in rows.values()), sum(light >= 140 for light in rows.values())
    images = {"dark": dark, "medium": len(NINE) - dark - bright, "bright": bright}
    assert {name: part["images"] for name, part in parts.items()} == {name: n for name, n in images.items() if n}
    assert [brightness(np.full((2, 2, 3), value, np.uint8)) for value in (0, 255)] == [0, 255]


@pytest.mark.slow
def test_a_truth_without_objects_has_no_parts_by_them(run, tmp_path):
    """From the command line: label maps of a data set in VOC's layout, with tags and a report."""
    from tests.helpers.voc_folder import boxes, write_voc

    dog = boxes((6, 8), (12, 0, 0, 6, 4))
    dataset = write_voc(tmp_path / "two", {"day": dog, "night": dog})
    maps = tmp_path / "maps"
    maps.mkdir()
    Image.fromarray(dog).save(maps / "day.png")
    Image.fromarray(np.zeros_like(dog)).save(maps / "night.png")
    (tmp_path / "tags.csv").write_text("image,time\nday,light\nnight.jpg,dark\n")
    given = ("evaluate", "--dataset", dataset, "--predictions", maps, "--tags", tmp_path / "tags.csv")
    done = run(*given, "--json", tmp_path / "scores.json", "--html", tmp_path / "report.html")
    assert done.status == 0, done.err
    slices = json.loads((tmp_path / "scores.json").read_text())["slices"]
    assert slices["object_size"] is slices["objects"] is None
    assert [(part["name"], part["foreground_mean_iou"]) for part in slices["tags"]["time"]] == [
        *(("dark", 0.0), ("light", 1.0))
    ]
    report = (tmp_path / "report.html").read_text()
    assert "Scores of parts of the set" in report and "<small>time</small>" in report
    (tmp_path / "tags.csv").write_text("image,time\nnoon,light\n")
    done = run(*given)
    assert done.status == 2 and "has no image 'noon' (line 2)" in done.err
