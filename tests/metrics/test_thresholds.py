"""The curve over thresholds against scikit-learn, and its best threshold."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from segcore.metrics import thresholds
from segcore.metrics.thresholds import STEPS


def pixels_of(truth, probability):
    """The counts of `curve`, by NumPy's histogram."""
    edges = np.arange(STEPS + 2) / STEPS
    return np.stack([np.histogram(probability[truth == side], edges)[0] for side in (0, 1)]).astype(np.int64)


def test_curve_is_scikit_learns():
    """Probabilities between the thresholds: scikit-learn is asked for them rounded down, where they decide alike."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 4000)
    probability = np.clip(rng.normal(0.3 + 0.3 * truth, 0.25), 0, 1).astype(np.float32)
    scores = thresholds.curve(pixels_of(truth, probability))
    precision, recall, at = precision_recall_curve(truth, np.floor(probability * STEPS) / STEPS)
    places = np.rint(at * STEPS).astype(int)
    np.testing.assert_allclose(scores["precision"][places], precision[:-1], atol=1e-12)
    np.testing.assert_allclose(scores["recall"][places], recall[:-1], atol=1e-12)
    best = thresholds.best(scores)
    f1 = 2 * precision * recall / (precision + recall)
    assert scores["f1"][best] == pytest.approx(np.nanmax(f1), abs=1e-12)
    assert scores["iou"][best] == np.nanmax(scores["iou"])
    np.testing.assert_allclose(scores["iou"], scores["f1"] / (2 - scores["f1"]))


def test_of_equal_thresholds_the_nearest_to_a_half_is_the_best():
    truth, probability = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.9, 1.0])
    record = thresholds.record(pixels_of(truth, probability))
    assert record["best"] == {"threshold": 0.5, "precision": 1.0, "recall": 1.0, "f1": 1.0, "iou": 1.0}
    assert (record["precision"][0], record["recall"][-1]) == (0.5, 0.5)  # all pixels, and that with probability 1


def test_without_the_class_there_is_no_best_threshold():
    nowhere = thresholds.record(pixels_of(np.zeros(5), np.linspace(0, 0.5, 5)))
    assert nowhere["best"] is None and set(nowhere["recall"]) == {None}
    assert nowhere["precision"][-1] is None and nowhere["iou"][0] == 0
    assert thresholds.record(np.zeros((2, STEPS + 1), np.int64)) is None
