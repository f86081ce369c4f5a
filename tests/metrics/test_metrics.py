"""Scores against scikit-learn, literal definitions and sums worked out by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segcore.classes import IGNORE_INDEX
from segcore.errors import LabelError, UsageError
from segcore.metrics import confusion
from tests.helpers.label_maps import blobs, with_ignored

CLASSES = range(21)


# ---- counting


def test_confusion_matrix_by_hand():
    target = np.array([[0, 0, 1], [1, 2, 2], [2, 255, 255]], np.uint8)
    prediction = np.array([[0, 1, 1], [1, 2, 0], [2, 2, 0]], np.uint8)
    matrix = confusion.confusion_matrix(target, prediction, num_classes=3)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 2]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("noise", [0.0, 0.5])  # long runs and short ones are counted in two ways
def test_confusion_matrix_equals_scikit_learn(dtype, noise):
    target, prediction = blobs(1), blobs(2)
    rng = np.random.default_rng(3)
    prediction = np.where(rng.random(target.shape) < noise, rng.integers(0, 21, target.shape), prediction)
    expected = sklearn.metrics.confusion_matrix(target.ravel(), prediction.ravel(), labels=CLASSES)
    assert np.array_equal(confusion.confusion_matrix(target.astype(dtype), prediction.astype(dtype)), expected)


def test_confusion_matrix_leaves_ignored_pixels_out():
    target, prediction = with_ignored(blobs(1)), blobs(2)
    valid = target != IGNORE_INDEX
    expected = sklearn.metrics.confusion_matrix(target[valid], prediction[valid], labels=CLASSES)
    for dtype in (np.uint8, np.int64):
        assert np.array_equal(confusion.confusion_matrix(target.astype(dtype), prediction), expected)


def test_confusion_matrix_of_views_bools_and_nothing():
    target, prediction = blobs(1), blobs(2)
    assert np.array_equal(
        confusion.confusion_matrix(target.T[::2, ::-1], prediction.T[::2, ::-1]),
        confusion.confusion_matrix(target.T[::2, ::-1].copy(), prediction.T[::2, ::-1].copy()),
    )
    assert confusion.confusion_matrix(target == 5, target > 5, num_classes=2).sum() == target.size
    assert confusion.confusion_matrix(np.zeros((0, 4), int), np.zeros((0, 4), int)).sum() == 0


def test_confusion_matrix_of_a_photograph_of_many_pixels():
    target = np.tile(blobs(1), (30, 20))  # more than are counted at once
    prediction = np.roll(target, 7, axis=1)
    expected = sklearn.metrics.confusion_matrix(target.ravel(), prediction.ravel(), labels=CLASSES)
    assert np.array_equal(confusion.confusion_matrix(target, prediction), expected)


@pytest.mark.parametrize(
    ("target", "prediction", "message"),
    [
        ([[0, 21]], [[0, 0]], "target holds the value 21"),
        ([[0, 0]], [[0, 21]], "prediction holds the value 21"),
        ([[0, 0]], [[0, 255]], "prediction holds the value 255"),
        ([[0, 255]], [[0, 255]], "prediction holds the value 255"),
        ([[0, -1]], [[0, 0]], "target holds the value -1"),
        ([[0, 0]], [[0, 256]], "prediction holds the value 256"),
        ([[0.0, 1.0]], [[0, 0]], "target must be an array of integers.*float64"),
        ([[0, 1]], [["a", "b"]], "prediction must be an array of integers"),
        ([[0, 1]], [[0], [1]], r"one shape.*\(1, 2\) and \(2, 1\)"),
    ],
)
def test_confusion_matrix_errors(target, prediction, message):
    with pytest.raises(LabelError, match=message):
        confusion.confusion_matrix(np.array(target), np.array(prediction))


@pytest.mark.parametrize("value", [21, 254])
def test_confusion_matrix_errors_in_bytes(value):
    fine, wrong = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    wrong[3, 3] = value
    with pytest.raises(LabelError, match=f"target holds the value {value}.*0 to 20 and 255"):
        confusion.confusion_matrix(wrong, fine)
    with pytest.raises(LabelError, match=f"prediction holds the value {value}.*0 to 20$"):
        confusion.confusion_matrix(fine, wrong)


def test_confusion_matrix_errors_in_num_classes():
    with pytest.raises(UsageError, match="2 to 255, not 256"):
        confusion.confusion_matrix([0], [0], num_classes=256)


# ---- scores


def test_scores_by_hand():
    scores = confusion.scores([[3, 1, 0], [0, 2, 0], [1, 0, 3]])
    assert scores["pixel_accuracy"] == pytest.approx(8 / 10)
    assert scores["iou"] == pytest.approx([3 / 5, 2 / 3, 3 / 4])
    assert scores["f1"] == pytest.approx([6 / 8, 4 / 5, 6 / 7])
    assert scores["precision"] == pytest.approx([3 / 4, 2 / 3, 1])
    assert scores["recall"] == pytest.approx([3 / 4, 1, 3 / 4])
    assert scores["mean_iou"] == pytest.approx((3 / 5 + 2 / 3 + 3 / 4) / 3)
    assert scores["foreground_mean_iou"] == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert scores["classes_counted"] == 3
    assert scores["f1_macro"] == pytest.approx((6 / 8 + 4 / 5 + 6 / 7) / 3)
    assert scores["f1_weighted"] == pytest.approx((4 * 6 / 8 + 2 * 4 / 5 + 4 * 6 / 7) / 10)
    assert scores["frequency_weighted_iou"] == pytest.approx((4 * 3 / 5 + 2 * 2 / 3 + 4 * 3 / 4) / 10)
    assert scores["mean_accuracy"] == pytest.approx((3 / 4 + 1 + 3 / 4) / 3)
    assert scores["mse"] == pytest.approx(2 * 0.2 / 3)


def test_scores_equal_scikit_learn():
    target, prediction = blobs(1), blobs(2, classes=(0, 5, 15, 7))  # 20 is missed, 7 is extra
    scores = confusion.scores(confusion.confusion_matrix(target, prediction))
    pair = target.ravel(), prediction.ravel()
    present = np.union1d(target, prediction)
    settings = {"labels": present, "zero_division": 0}
    assert scores["classes_counted"] == len(present) == 5
    assert scores["pixel_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(*pair))
    for key, score in (("f1", sklearn.metrics.f1_score), ("iou", sklearn.metrics.jaccard_score)):
        assert scores[key][present] == pytest.approx(score(*pair, average=None, **settings))
        assert np.isnan(np.delete(scores[key], present)).all()
    assert scores["f1_macro"] == pytest.approx(sklearn.metrics.f1_score(*pair, average="macro", **settings))
    assert scores["f1_weighted"] == pytest.approx(sklearn.metrics.f1_score(*pair, average="weighted", **settings))
    assert scores["mean_iou"] == pytest.approx(sklearn.metrics.jaccard_score(*pair, average="macro", **settings))
    weighted = sklearn.metrics.jaccard_score(*pair, average="weighted", **settings)
    assert scores["frequency_weighted_iou"] == pytest.approx(weighted)
    for key, score in (
        ("precision", sklearn.metrics.precision_score),
        ("recall", sklearn.metrics.recall_score),
    ):
        expected = score(*pair, average=None, labels=CLASSES, zero_division=np.nan)
        assert scores[key] == pytest.approx(expected, nan_ok=True)
    assert scores["mean_accuracy"] == pytest.approx(np.nanmean(scores["recall"]))


@pytest.mark.parametrize("num_classes", [2, 21])
def test_mse_is_that_of_the_masks(num_classes):
    target, prediction = with_ignored(blobs(1)), blobs(2)
    if num_classes == 2:
        target, prediction = confusion.to_binary(target, 15), confusion.to_binary(prediction, 15)
        expected = sklearn.metrics.mean_squared_error(
            target[target != IGNORE_INDEX], prediction[target != IGNORE_INDEX]
        )
    else:
        valid = target != IGNORE_INDEX
        one_hot = np.eye(num_classes)
        expected = np.mean((one_hot[target[valid]] - one_hot[prediction[valid]]) ** 2)
    scores = confusion.scores(confusion.confusion_matrix(target, prediction, num_classes))
    assert scores["mse"] == pytest.approx(expected)


def test_scores_of_an_absent_class_are_undefined_and_left_out():
    scores = confusion.scores([[8, 0, 0], [2, 6, 0], [0, 0, 0]])
    assert scores["iou"] == pytest.approx([8 / 10, 6 / 8, np.nan], nan_ok=True)
    assert scores["mean_iou"] == pytest.approx((8 / 10 + 6 / 8) / 2)
    assert scores["foreground_mean_iou"] == pytest.approx(6 / 8)
    assert scores["classes_counted"] == 2


def test_scores_of_an_extra_class_are_0_and_count():
    scores = confusion.scores([[6, 2], [0, 0]])
    assert scores["iou"].tolist() == [6 / 8, 0]
    assert scores["f1"][1] == 0
    assert scores["precision"][1] == 0
    assert np.isnan(scores["recall"][1])
    assert scores["mean_iou"] == pytest.approx(3 / 8)
    assert scores["mean_accuracy"] == pytest.approx(6 / 8)


def test_scores_of_nothing_are_undefined():
    matrix = confusion.confusion_matrix(np.full((3, 3), IGNORE_INDEX), np.zeros((3, 3), int))
    scores = confusion.scores(matrix)
    assert scores.pop("classes_counted") == 0
    assert set(scores) == {*confusion.OVERALL_KEYS, *confusion.PER_CLASS_KEYS} - {"classes_counted"}
    assert all(np.isnan(value).all() for value in scores.values())


def test_scores_are_plain_numbers_by_name():
    scores = confusion.scores(np.eye(21, dtype=int))
    assert {type(scores[key]) for key in confusion.OVERALL_KEYS} == {float, int}
    assert {scores[key].shape for key in confusion.PER_CLASS_KEYS} == {(21,)}
    assert scores["pixel_accuracy"] == scores["mean_iou"] == 1


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3), int), r"square.*\(2, 3\)"),
        (np.zeros(4, int), r"square.*\(4,\)"),
        (np.zeros((2, 2)), "integers.*float64"),
        ([[1, -2], [0, 1]], "holds -2"),
    ],
)
def test_scores_errors(matrix, message):
    with pytest.raises(LabelError, match=message):
        confusion.scores(matrix)


def test_mean_defined():
    assert confusion.mean_defined([1, np.nan, 2]) == 1.5
    assert np.isnan(confusion.mean_defined([np.nan]))
    assert np.isnan(confusion.mean_defined([]))


LABELS = arrays(np.uint8, (6, 4), elements=st.integers(0, 4))


@settings(max_examples=30, deadline=None)
@given(LABELS, LABELS)
def test_parts_add_up_to_the_whole(target, prediction):
    parts = (confusion.confusion_matrix(target[i : i + 2], prediction[i : i + 2], 5) for i in (0, 2, 4))
    assert np.array_equal(sum(parts), confusion.confusion_matrix(target, prediction, 5))


@settings(max_examples=30, deadline=None)
@given(LABELS, LABELS, st.permutations(range(1, 5)))
def test_the_order_of_the_classes_changes_no_mean(target, prediction, order):
    renamed = np.array([0, *order])
    before = confusion.scores(confusion.confusion_matrix(target, prediction, 5))
    after = confusion.scores(confusion.confusion_matrix(renamed[target], renamed[prediction], 5))
    for key in confusion.OVERALL_KEYS:
        assert after[key] == pytest.approx(before[key], nan_ok=True)
    for key in confusion.PER_CLASS_KEYS:
        assert after[key][renamed] == pytest.approx(before[key], nan_ok=True)


@pytest.mark.slow
def test_scores_are_25_times_faster_than_scikit_learn():
    target, prediction = blobs(1, (480, 640)), blobs(2, (480, 640))

    def seconds(function, repeats):
        started = time.perf_counter()
        for _ in range(repeats):
            function()
        return (time.perf_counter() - started) / repeats

    def theirs():
        pair = target.ravel(), prediction.ravel()
        sklearn.metrics.accuracy_score(*pair)
        sklearn.metrics.f1_score(*pair, average="macro")

    def ours():
        confusion.scores(confusion.confusion_matrix(target, prediction))

    ratios = [seconds(theirs, 1) / seconds(ours, 20) for _ in range(5)]
    assert max(ratios) >= 25  # the other four may have shared the processor with something else


# ---- binary mode


def test_to_binary():
    labels = np.array([[0, 15, 3], [255, 20, 15]])
    person = confusion.to_binary(labels, 15)
    assert person.dtype == np.uint8
    assert person.tolist() == [[0, 1, 0], [255, 0, 1]]
    assert confusion.to_binary(labels, None).tolist() == [[0, 1, 1], [255, 1, 1]]


def test_to_binary_errors():
    with pytest.raises(LabelError, match="label map holds the value 21"):
        confusion.to_binary(np.array([[21]]), 15)
    with pytest.raises(UsageError, match="the background is no object"):
        confusion.to_binary(np.array([[0]]), 0)
    with pytest.raises(UsageError, match="no class 21"):
        confusion.to_binary(np.array([[0]]), 21)
