"""Images whose truth disagrees with the model: wrong annotations make the label quality low."""

import json
import shutil

import numpy as np
import pytest

from benchmarks.label_quality import found, qualities
from segcore.evaluation import evaluate, results
from segcore.evaluation.protocols import protocol
from segcore.inference.task import Task
from segcore.report.extremes import largest_difference, pictures
from segcore.report.html import html_report
from segcore.truth.coco import CocoDataset, annotation_file
from tests.helpers.wrong_truth import change_objects

SHIPPED = "deeplabv3_mobilenet_v2"


@pytest.fixture
def with_wrong_objects(nine_coco, tmp_path):
    """The samples with one wrong object in each of three images, and the ids of these images."""
    folder = tmp_path / "coco"
    shutil.copytree(nine_coco, folder)
    file = folder / "annotations" / "instances_samples.json"
    return folder, change_objects(file, file, 3, seed=2)


@pytest.fixture
def sixth(shared_coco, tmp_path):
    """Every sixth image of COCO's, in its layout."""
    document = json.loads(annotation_file(shared_coco, "val2017").read_text())
    document["images"] = document["images"][::6]
    kept = {each["id"] for each in document["images"]}
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] in kept]
    (tmp_path / "annotations").mkdir()
    annotation_file(tmp_path, "val2017").write_text(json.dumps(document))
    (tmp_path / "val2017").symlink_to((shared_coco / "val2017").resolve(), target_is_directory=True)
    return tmp_path


@pytest.mark.slow
def test_a_wrong_annotation_lowers_the_label_quality_of_its_image_alone(nine_coco, with_wrong_objects, segmenter):
    folder, wrong = with_wrong_objects
    before = qualities(segmenter, CocoDataset.open(nine_coco, "samples"))
    after = qualities(segmenter, CocoDataset.open(folder, "samples"))
    assert {each for each in before if after[each] != before[each]} == wrong
    assert all(after[each] < before[each] for each in wrong)
    assert all(0 <= quality <= 1 for quality in after.values())


@pytest.mark.slow
def test_the_report_shows_the_most_doubtful_truth_first(with_wrong_objects, segmenter):
    folder, _ = with_wrong_objects
    dataset = CocoDataset.open(folder, "samples")
    run = evaluate.Run(segmenter, dataset, protocol("original"), Task(), dataset.images)
    record = evaluate.evaluate(run).to_dict()
    rows = sorted(record["per_image"], key=lambda row: row["label_quality"])
    assert results.most_doubtful_first(record) == rows

    extremes, doubtful = pictures(run, record, each=2)
    assert [each.image_id for each in doubtful] == [row["image_id"] for row in rows[:2]]
    assert doubtful[0].caption == f"Label quality {rows[0]['label_quality']:.4f}"
    assert len(extremes) == 4
    text = html_report(record, pictures=extremes, doubtful=doubtful)
    assert text.index("Look at the annotation") < text.index(doubtful[0].caption)
    assert "Look at the annotation" not in html_report(record, pictures=extremes)


def test_label_quality_is_in_all_files(nine_coco, segmenter):
    dataset = CocoDataset.open(nine_coco, "samples")
    run = evaluate.Run(segmenter, dataset, protocol("original"), Task(), dataset.images[:1])
    outcome = evaluate.evaluate(run)
    [row] = outcome.to_dict()["per_image"]
    header, *lines = outcome.to_csv().splitlines()
    cell = dict(zip(header.split(","), lines[-1].split(","), strict=True))["label_quality"]
    assert cell == str(row["label_quality"])
    assert json.dumps(row["label_quality"])


def test_the_outline_is_that_of_the_largest_broad_difference():
    truth = np.zeros((40, 60), np.uint8)
    prediction = truth.copy()
    assert largest_difference(prediction, truth) is None

    prediction[:, :2] = 1  # a long thin region of 80 pixels
    thin = largest_difference(prediction, truth)
    assert sorted(map(tuple, thin)) == [(0, 0), (0, 40), (2, 0), (2, 40)]

    prediction[10:18, 30:39] = 3
    prediction[30:36, 50:56] = 5
    prediction[20:40, 5:25] = 7
    truth[20:40, 5:25] = 255  # ignored, though the largest
    broad = largest_difference(prediction, truth)
    assert sorted(map(tuple, broad)) == [(30, 10), (30, 18), (39, 10), (39, 18)]


@pytest.mark.slow
def test_at_least_half_of_the_wrong_annotations_are_among_the_first_images(sixth, segmenter):
    counts = found(segmenter, sixth, "val2017", seeds=3, changed=4, first=6)
    assert np.mean(counts) >= 2
