"""`/evaluate_coco`: scores of one image are those of the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from gradio_client.exceptions import AppError
from PIL import Image
from pycocotools import mask as coco_mask

from segcore.cli import main
from segcore.cli.common import DONE
from tests.endpoints.calls import CAT, ROOT, pixels, sample
from tests.helpers.runs import OF_SETS

pytestmark = pytest.mark.page


def evaluate(folder: Path, image_id: int, *flags: str) -> dict:
    """The command line's JSON for one of the samples."""
    file = folder / "scores.json"
    arguments = ["evaluate", "--dataset", str(ROOT / "examples"), "--image-ids", str(image_id), "--json", str(file)]
    assert main.main([*arguments, *flags]) == DONE
    return json.loads(file.read_text())


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ({}, []),
        ({"protocol": "torchvision"}, ["--protocol", "torchvision"]),
        ({"protocol": "report"}, ["--protocol", "report"]),
        ({"mode": "binary", "class_name": "cat"}, ["--mode", "binary", "--class", "cat"]),
    ],
    ids=["original", "torchvision", "report", "binary"],
)
def test_evaluate_coco_gives_the_scores_of_evaluate(client, tmp_path, arguments, flags):
    *pictures, result = client.predict(CAT, api_name="/evaluate_coco", **arguments)
    labels = tmp_path / "labels"
    record = evaluate(tmp_path, CAT, "--save-labels", str(labels), *flags)
    [row] = record["per_image"]
    del row["brightness"]  # it tells the images of a set apart
    assert {key: result[key] for key in row} == row
    assert result["dataset"] == record["dataset"]
    shared = set(record) - OF_SETS
    assert {key: result[key] for key in shared} == {key: record[key] for key in shared}
    scored_size = np.asarray(Image.open(labels / f"{CAT:012d}.png")).shape
    assert [pixels(each).shape for each in pictures] == [(*scored_size, 3)] * 3


def test_pictures_show_prediction_truth_and_errors(client):
    overlay, truth, errors, result = client.predict(CAT, api_name="/evaluate_coco")
    [cat] = [each for each in annotations() if each["image_id"] == CAT]
    rle = coco_mask.frPyObjects(cat["segmentation"], *pixels(truth).shape[:2])
    drawn = coco_mask.decode(coco_mask.merge(rle)).astype(bool)
    assert result["per_class"]["cat"]["iou"] > 0.5
    original = np.asarray(Image.open(sample(CAT)))
    painted = np.any(pixels(truth) != original, axis=2)
    assert np.mean(painted == drawn) > 0.98, "but for the outline"
    assert not np.array_equal(pixels(overlay), pixels(truth))
    assert not np.array_equal(pixels(errors), pixels(truth))


def annotations() -> list[dict]:
    return json.loads((ROOT / "examples" / "annotations" / "instances_samples.json").read_text())["annotations"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"image_id": 17}, "no image 17 in samples; .* the nearest is 542"),
        ({"image_id": None}, "Give the id of an image"),
        ({"image_id": "cat"}, "no image 'cat' in samples; ids are numbers: .* from 542"),
        ({"image_id": CAT, "protocol": "voc"}, "no protocol 'voc'; choose one of: original, torchvision, report"),
        ({"image_id": CAT, "model": "unet"}, "no model 'unet'"),
        ({"image_id": CAT, "mode": "binary", "class_name": "unicorn"}, "no class 'unicorn'"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_evaluate_coco_errors(client, quiet, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(api_name="/evaluate_coco", **arguments)
