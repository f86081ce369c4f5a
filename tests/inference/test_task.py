"""What a task makes of logits and of the truth, against torch's own upsampling, arg-max and softmax."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segcore.categories import Categories
from segcore.classes import SCREEN_PALETTE, VOC_NAMES
from segcore.errors import LabelError, UsageError
from segcore.inference.task import Task

CAT, DINING_TABLE = 8, 11
SIZE_HW = 90, 130


@pytest.fixture(scope="module")
def logits():
    """Objects in front of a background, some of them sure and some doubtful: (21, 12, 17)."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(1, 21, 4, 5, generator=generator) * 3
    coarse[:, 0] += 6
    coarse[:, CAT] += 5
    return F.interpolate(coarse, (12, 17), mode="bicubic")[0]


@pytest.fixture(scope="module")
def softmax(logits):
    """The same at SIZE_HW by torch, in double precision: float64 (21, H, W)."""
    return F.interpolate(logits[None].double(), SIZE_HW, mode="bilinear", align_corners=False)[0].softmax(0).numpy()


def clear_of(probability, threshold):
    """Where the last bits of a float cannot decide."""
    return np.abs(probability - threshold) > 1e-5


def test_multiclass_is_the_likeliest_class(logits, softmax):
    prediction = Task().predict(logits, SIZE_HW)

    assert prediction.dtype == np.uint8
    np.testing.assert_array_equal(prediction, softmax.argmax(0))
    assert len(np.unique(prediction)) > 3


@pytest.mark.parametrize(("name", "probability"), [("cat", lambda p: p[CAT]), ("any", lambda p: 1 - p[0])])
def test_binary_by_the_likeliest_class_and_by_threshold(logits, softmax, name, probability):
    likeliest = softmax.argmax(0)
    automatic = Task("binary", name).predict(logits, SIZE_HW)
    assert automatic.dtype == np.uint8
    np.testing.assert_array_equal(automatic, likeliest == CAT if name == "cat" else likeliest > 0)

    probability = probability(softmax)
    for threshold in (0.1, 0.3, 0.8):
        prediction = Task("binary", name, threshold).predict(logits, SIZE_HW)
        clear = clear_of(probability, threshold)
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(prediction[clear], (probability >= threshold)[clear])
        assert 0 < prediction.mean() < 1


def test_thresholds_at_both_ends(logits):
    assert (Task("binary", "cat", 0).predict(logits, SIZE_HW) == 1).all()
    assert (Task("binary", "cat", 1).predict(logits, SIZE_HW) == 0).all()


def test_truth_of_each_mode_by_hand():
    labels = np.array([[0, 8, 15], [255, 8, 0]], np.uint8)

    np.testing.assert_array_equal(Task().truth(labels), labels)
    np.testing.assert_array_equal(Task("binary", "cat").truth(labels), [[0, 1, 0], [255, 1, 0]])
    np.testing.assert_array_equal(Task("binary").truth(labels), [[0, 1, 1], [255, 1, 0]])


def test_truth_errors():
    with pytest.raises(LabelError, match="21"):
        Task("binary").truth(np.array([[21]], np.uint8))


def test_exported_labels_are_voc_ids(logits, softmax):
    def exported(task):
        return task.voc_labels(logits, task.predict(logits, SIZE_HW))

    likeliest = softmax.argmax(0)
    np.testing.assert_array_equal(exported(Task()), likeliest)
    np.testing.assert_array_equal(exported(Task("binary", "cat")), np.where(likeliest == CAT, CAT, 0))

    any_object = exported(Task("binary", "any", 0.1))
    sure = clear_of(1 - softmax[0], 0.1)
    expected = np.where(1 - softmax[0] >= 0.1, softmax[1:].argmax(0) + 1, 0)
    assert any_object.dtype == np.uint8
    np.testing.assert_array_equal(any_object[sure], expected[sure])


@pytest.mark.parametrize("task", [Task(), Task("binary", "cat", 0.3), Task("binary", "any")])
def test_confidence_is_the_mean_probability_of_what_was_predicted(logits, softmax, task):
    prediction = task.predict(logits, SIZE_HW)
    of_object = 1 - softmax[0] if task.class_name == "any" else softmax[CAT]
    planes = np.stack([1 - of_object, of_object]) if task.binary else softmax

    confidence = task.confidence(logits, prediction)

    assert confidence.shape == (task.num_classes,)
    assert np.isnan(confidence[0])
    for number, plane in enumerate(planes[1:], 1):
        own = plane[prediction == number]
        if own.size:
            assert confidence[number] == pytest.approx(own.mean(), abs=1e-6)
        else:
            assert np.isnan(confidence[number])


@pytest.mark.parametrize("name", ["any", "cat"])
def test_one_look_gives_the_same_as_two(logits, name):
    task = Task("binary", name, 0.3)
    prediction, confidence = task.predict_with_confidence(logits, (45, 61))
    np.testing.assert_array_equal(prediction, task.predict(logits, (45, 61)))
    np.testing.assert_array_equal(confidence, task.confidence(logits, prediction))


def test_confidence_of_what_has_no_pixels_is_undefined(logits):
    nothing = Task("binary", "cat", 1)
    assert np.isnan(nothing.confidence(logits, nothing.predict(logits, SIZE_HW))).all()
    assert np.isnan(nothing.predict_with_confidence(logits, SIZE_HW)[1]).all()


def test_names_say_what_the_numbers_are():
    assert Task().names == VOC_NAMES and Task().num_classes == 21
    assert Task("binary").names == ("background", "any") and Task("binary").num_classes == 2
    assert Task("binary").friendly_names == ("background", "any object")
    assert Task("binary", "tvmonitor").friendly_names == ("background", "TV")


@pytest.mark.parametrize("name", ["diningtable", "dining table", "Dining Table", "dining_table"])
def test_a_class_goes_by_all_its_names(name):
    task = Task("binary", name, 0.5)
    assert task == Task("binary", "diningtable", 0.5)
    assert task.object_id == DINING_TABLE
    assert task.record() == {"mode": "binary", "class": "diningtable", "threshold": 0.5}


def test_record_says_what_applies():
    assert Task().record() == {"mode": "multiclass", "class": None, "threshold": None}
    assert Task("binary").record() == {"mode": "binary", "class": "any", "threshold": "auto"}


def test_binary_masks_take_the_colour_of_their_class():
    np.testing.assert_array_equal(Task("binary", "cat").palette[1], SCREEN_PALETTE[CAT])
    np.testing.assert_array_equal(Task().palette, SCREEN_PALETTE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("panoptic",), "'multiclass' or 'binary'"),
        (("binary", "unicorn"), "no class 'unicorn'.*person"),
        (("binary", "background"), "background is no object"),
        (("binary", "cat", 1.5), "from 0 to 1.*1.5"),
        (("binary", "cat", -0.1), "from 0 to 1"),
        (("binary", "cat", float("nan")), "from 0 to 1"),
        (("binary", "cat", "0.5"), "from 0 to 1.*'0.5'"),
        (("binary", "cat", [0.5]), "from 0 to 1"),
    ],
)
def test_task_errors(settings, message):
    with pytest.raises(UsageError, match=message):
        Task(*settings)


@pytest.mark.parametrize("name", ["any", "Any", "a n_y"])
def test_any_is_no_category(name):
    assert Task("binary", name).class_name == "any"
    with pytest.raises(UsageError, match=f"no category can be called '{name}', which stands for any object; rename it"):
        Categories.of("cat", name)
    with pytest.raises(UsageError, match="stands for any object"):
        Categories.any_of((name, "cat"))
