"""What is taken away of a result, read back with Pillow, NumPy and pycocotools."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from segcore.classes import VOC_NAMES
from segcore.inference.export import Decided, decide, encode_rle, write_results
from segcore.inference.provenance import Provenance
from segcore.inference.segmentation import Segmentation
from segcore.inference.task import Task

CAT, DOG, PERSON = 8, 12, 15
HEIGHT, WIDTH = 6, 8
PROVENANCE = Provenance("some_model", "ab" * 32, "squeeze", "cpu", "float32", 0.25)


@pytest.fixture(scope="module")
def result():
    """A picture whose labels can be told from its logits by eye: they are of its own size."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[1:5, 1:6] = CAT
    labels[5, :3] = PERSON
    logits = np.zeros((21, HEIGHT, WIDTH), np.float32)
    np.put_along_axis(logits, labels[None].astype(int), 4, axis=0)
    logits[DOG][labels == CAT] = 3
    photograph = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return Segmentation(logits, (HEIGHT, WIDTH), PROVENANCE, photograph)


def saved(picture, tmp_path):
    """The picture once written as PNG and read again."""
    picture.save(tmp_path / "picture.png")
    return Image.open(tmp_path / "picture.png")


def test_found_lists_the_objects_largest_first(result):
    cat, person = decide(result, Task()).found()

    assert (cat.id, cat.name, cat.pixels, cat.share) == (CAT, "cat", 20, 20 / 48)
    assert (person.id, person.name, person.pixels, person.share) == (PERSON, "person", 3, 3 / 48)
    assert cat.confidence == pytest.approx(np.exp(4) / (np.exp(4) + np.exp(3) + 19))
    assert person.confidence == pytest.approx(np.exp(4) / (np.exp(4) + 20))


def test_found_in_binary_mode(result):
    (dog,) = decide(result, Task("binary", "dog", 0.2)).found()
    assert (dog.id, dog.name, dog.pixels) == (DOG, "dog", 20)
    assert dog.confidence == pytest.approx(np.exp(3) / (np.exp(4) + np.exp(3) + 19))

    (anything,) = decide(result, Task("binary")).found()
    assert (anything.id, anything.name, anything.friendly, anything.pixels) == (None, "any", "any object", 23)


def test_nothing_found(result):
    decided = decide(result, Task("binary", "sheep"))
    assert decided.found() == []
    assert decided.record("a.jpg")["classes"] == []
    assert not np.asarray(decided.labels_image()).any()
    assert not np.asarray(decided.cutout(result.image)).any()


def test_record_has_the_keys_of_the_contract(result):
    record = json.loads(json.dumps(decide(result, Task()).record("a.jpg"), allow_nan=False))

    assert {key: value for key, value in record.items() if key != "classes"} == {
        "schema": 1,
        "file": "a.jpg",
        "width": WIDTH,
        "height": HEIGHT,
        "model": "some_model",
        "weights_sha256": "ab" * 32,
        "resize": "squeeze",
        "device": "cpu",
        "precision": "float32",
        "engine": "torch",
        "tta": False,
        "careful": False,
        "calibration": None,
        "refine": None,
        "seconds": 0.25,
        "mode": "multiclass",
    }
    for each in record["classes"]:
        assert set(each) == {"id", "name", "pixels", "share", "confidence", "rle"}


def test_rle_of_each_class_is_its_mask(result):
    for each in decide(result, Task()).record("a.jpg")["classes"]:
        np.testing.assert_array_equal(coco_mask.decode(each["rle"]), result.labels == each["id"])
        assert coco_mask.area(each["rle"]) == each["pixels"]
    (anything,) = decide(result, Task("binary")).record("a.jpg")["classes"]
    np.testing.assert_array_equal(coco_mask.decode(anything["rle"]), result.labels > 0)


@pytest.mark.parametrize("mask", [np.zeros((3, 5), bool), np.ones((3, 5), bool), np.eye(4, 7, dtype=bool)[:, ::-1]])
def test_rle_round_trip(mask):
    rle = encode_rle(mask)
    assert json.loads(json.dumps(rle))["size"] == list(mask.shape)
    np.testing.assert_array_equal(coco_mask.decode(rle), mask)


def test_label_map_is_a_palette_picture_of_voc_ids(result, tmp_path):
    picture = saved(decide(result, Task()).labels_image(), tmp_path)
    assert picture.mode == "P" and picture.size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(np.asarray(picture), result.labels)
    colors = np.asarray(picture.convert("RGB"))
    assert colors[2, 2].tolist() == [64, 0, 0] and colors[5, 0].tolist() == [192, 128, 128]  # VOC's cat and person

    dog = saved(decide(result, Task("binary", "dog", 0.2)).labels_image(), tmp_path)
    np.testing.assert_array_equal(np.asarray(dog), np.where(result.labels == CAT, DOG, 0))
    anything = saved(decide(result, Task("binary")).labels_image(), tmp_path)
    np.testing.assert_array_equal(np.asarray(anything), result.labels)


def test_cutout_keeps_the_objects_alone(result, tmp_path):
    pixels = np.asarray(saved(decide(result, Task("binary", "cat")).cutout(result.image), tmp_path))
    cat = result.labels == CAT
    assert pixels.shape == (HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(pixels[..., 3], cat * 255)
    np.testing.assert_array_equal(pixels[cat][:, :3], result.image[cat])
    assert not pixels[~cat].any()


def test_what_is_hidden_is_background_in_every_file(result):
    seen = decide(result, Task()).visible({CAT})
    assert [each.name for each in seen.found()] == ["person"]
    assert [each["name"] for each in seen.record("a.jpg")["classes"]] == ["person"]
    person = result.labels == PERSON
    np.testing.assert_array_equal(np.asarray(seen.labels_image()), np.where(person, PERSON, 0))
    np.testing.assert_array_equal(np.asarray(seen.mask_image()), person * 255)
    np.testing.assert_array_equal(np.asarray(seen.overlay(result.image))[~person], result.image[~person])
    assert np.array_equal(decide(result, Task()).visible().prediction, result.labels)
    assert decide(result, Task("binary")).visible({1}).found() == []


@pytest.mark.parametrize(("task", "probability"), [(Task(), 0.66), (Task("binary", "cat"), 0.66)], ids=str)
def test_what_is_not_sure_enough_is_background(result, task, probability):
    sure = np.exp(4) / (np.exp(4) + np.exp(3) + 19)  # of the cat; of the person it is more
    assert probability - 0.1 < sure < probability + 0.1
    value = 1 if task.binary else CAT
    decided = decide(result, task)
    assert (decided.visible(at_least=sure - 0.01).prediction == decided.prediction).all()
    unsure = decided.visible(at_least=sure + 0.01).prediction
    assert (
        not (unsure == value).any()
        and (unsure[result.labels == PERSON] == decided.prediction[result.labels == PERSON]).all()
    )


def test_pictures_of_the_subject_have_the_photographs_size(result, tmp_path):
    decided = decide(result, Task("binary", "cat"))
    assert [draw(result.image).mode for draw in (decided.soft_cutout, decided.on_plain, decided.on_blurred)] == [
        *("RGBA", "RGB", "RGB")
    ]
    decided.save_photograph(decided.on_plain(result.image), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (WIDTH, HEIGHT))
        assert "some_model" in picture.info["comment"].decode() and not picture.getexif()


def test_overlay_leaves_the_background_as_it_was(result, tmp_path):
    pixels = np.asarray(saved(decide(result, Task()).overlay(result.image, alpha=0.7), tmp_path))
    background = result.labels == 0
    np.testing.assert_array_equal(pixels[background], result.image[background])
    assert (pixels[~background] != result.image[~background]).any(axis=-1).mean() > 0.9


def test_saved_probabilities_are_those_of_the_result(result, tmp_path):
    decide(result, Task("binary", "cat")).save_probabilities(tmp_path / "a.npz")

    with np.load(tmp_path / "a.npz") as archive:
        probabilities = archive["probabilities"]
        assert probabilities.dtype == np.float16 and probabilities.shape == (21, HEIGHT, WIDTH)
        np.testing.assert_array_equal(probabilities, result.probabilities().astype(np.float16))
        assert tuple(archive["classes"]) == VOC_NAMES
        assert (archive["model"], archive["resize"], archive["refine"]) == ("some_model", "squeeze", "none")
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_pictures_and_probabilities_say_what_made_them(result, tmp_path):
    pytest.importorskip("cv2")
    for each, refined in ((result, ""), (result.refined(), ", edges refined")):
        target = tmp_path / "a"
        write_results(each, Task("binary", "cat", 0.2), "a.jpg", target, cutout=True, probabilities=True)
        for end in ("labels", "overlay", "cutout"):
            with Image.open(f"{target}_{end}.png") as picture:
                assert picture.text == {
                    "Description": "some_model (abababab) - binary (cat, threshold 0.2) - resize squeeze, "
                    f"cpu, float32{refined}"
                }
        record = json.loads((tmp_path / "a.json").read_text())
        assert record["refine"] == ("edges" if refined else None)
        with np.load(f"{target}.npz") as archive:
            assert archive["refine"] == record["refine"] or "none"
            np.testing.assert_array_equal(archive["probabilities"], each.probabilities().astype(np.float16))


def test_decide_at_another_size(result):
    decided = decide(result, Task(), (12, 16))
    assert isinstance(decided, Decided)
    np.testing.assert_array_equal(decided.prediction, result.labels_at((12, 16)))
    assert sum(each.share for each in decided.found()) == pytest.approx((decided.prediction > 0).mean())


def test_decide_errors(result):
    other = np.zeros((HEIGHT + 1, WIDTH, 3), np.uint8)
    with pytest.raises(ValueError, match=str(HEIGHT + 1)):
        decide(result, Task()).overlay(other)
    with pytest.raises(ValueError, match=str(HEIGHT + 1)):
        decide(result, Task()).cutout(other)
