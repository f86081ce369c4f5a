"""How sure the model is: against PyTorch's interpolation and softmax."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
import torch

from demo.answers.certainty import SIDE, Certainty
from segcore.categories import Categories
from segcore.inference.task import Task

LOGITS = np.random.default_rng(0).normal(0, 3, (21, 9, 12)).astype(np.float32)
SIZE = 2 * SIDE, 3 * SIDE


def decoded(encoded):
    """The planes of an encoded grid: sureness, classes and percent."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(encoded["deflate"])), np.uint8)
    sure, *others = planes.reshape(1 + 2 * encoded["count"], encoded["height"], encoded["width"])
    return sure, np.array(others[: encoded["count"]]), np.array(others[encoded["count"] :])


def probabilities(encoded):
    size = encoded["height"], encoded["width"]
    resized = torch.nn.functional.interpolate(torch.from_numpy(LOGITS)[None], size, mode="bilinear")
    return torch.softmax(resized[0], dim=0)


def test_the_likeliest_classes_and_the_probability_of_the_shown_one():
    task = Task()
    encoded = Certainty.of(LOGITS, SIZE).encoded(task.predict(LOGITS, SIZE), task)
    assert (encoded["height"], encoded["width"]) == (round(SIDE * 2 / 3), SIDE)
    assert encoded["names"][:2] == ["background", "aeroplane"]
    sure, classes, percent = decoded(encoded)
    expected = probabilities(encoded).topk(3, dim=0)
    assert np.abs(percent - 100 * expected.values.numpy()).max() < 0.51
    assert (classes == expected.indices.numpy()).mean() > 0.999  # two can be equally likely
    # The label of a point's middle pixel is the likeliest, except beside borders.
    assert (sure == percent[0]).mean() > 0.98 and (sure <= percent[0]).all()


@pytest.mark.parametrize(("class_name", "threshold"), [("dog", 0.3), ("dog", None), ("any", 0.7)])
def test_in_binary_mode_it_is_the_probability_of_the_side_that_is_shown(class_name, threshold):
    task = Task("binary", class_name, threshold)
    prediction = task.predict(LOGITS, SIZE)
    encoded = Certainty.of(LOGITS, SIZE).encoded(prediction, task)
    sure, _, _ = decoded(encoded)
    each = probabilities(encoded).numpy()
    is_object = 1 - each[0] if class_name == "any" else each[12]
    assert prediction.any() and not prediction.all()
    error = np.minimum(np.abs(sure - 100 * is_object), np.abs(sure - 100 * (1 - is_object)))
    assert error.max() < 0.51
    if threshold is not None:  # away from the threshold it is known which side is shown
        clear = np.abs(is_object - threshold) > 0.1
        shown = np.where(is_object >= threshold, is_object, 1 - is_object)
        assert np.abs(sure - 100 * shown)[clear].max() < 0.51


def test_a_small_picture_has_a_point_for_each_pixel_and_two_classes_are_enough():
    names = "background", "leaf"
    task = Task(categories=Categories(names, names, ((), ())))
    encoded = Certainty.of(LOGITS[:2], (5, 7)).encoded(task.predict(LOGITS[:2], (5, 7)), task)
    assert (encoded["height"], encoded["width"], encoded["count"]) == (5, 7, 2)
    sure, classes, percent = decoded(encoded)
    assert (sure == percent[0]).all() and (classes[0] != classes[1]).all()
