"""Intervals: against a bootstrap written out as a loop, and by what they must do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.evaluation import bootstrap
from segcore.evaluation.bootstrap import interval, intervals, resampled
from segcore.evaluation.counts import OVERALL_KEYS, Counts
from segcore.metrics import confusion

BINS = 15


def counts_of(matrix, seed=0):
    """Counts with that confusion matrix and other numbers at random."""
    n, rng = len(matrix), np.random.default_rng(seed)
    union = rng.integers(1, 50, n)
    reliability = np.stack([rng.integers(1, 9, BINS) for _ in range(3)])
    return Counts(
        np.array(matrix, np.int64),
        union // 2,
        union,
        np.array(seed * 1000),
        np.array(max(1, n * 500)),
        reliability,
        reliability,
        rng.integers(1, 50, 2),
        rng.integers(0, 9, (2, 257 if n == 2 else 0)),
    )


def some_images(count, num_classes=3, seed=1):
    rng = np.random.default_rng(seed)
    matrices = rng.integers(0, 100, (count, num_classes, num_classes)) * (rng.random((count, 1, num_classes)) < 0.6)
    return Counts.stacked([counts_of(matrix, number) for number, matrix in enumerate(matrices)], num_classes)


def test_resamples_are_what_a_loop_over_images_gives():
    images = some_images(7)
    dataset, means = resampled(images, resamples=20, seed=3)

    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 7, (20, 7))
    alone = images.scores()
    for row, chosen in enumerate(drawn):
        scores = confusion.scores(sum(images.matrix[number] for number in chosen))
        for key in confusion.OVERALL_KEYS:
            assert dataset[key][row] == pytest.approx(scores[key], abs=1e-12, nan_ok=True)
        for key in confusion.PER_CLASS_KEYS:
            np.testing.assert_allclose(dataset["per_class"][key][row], scores[key], atol=1e-12)
        brier = sum(images.squared_error[number] for number in chosen) / 65536
        brier /= sum(images.squared_error_terms[number] for number in chosen)
        assert dataset["brier"][row] == pytest.approx(brier, abs=1e-12)
        for key in OVERALL_KEYS:
            expected = confusion.mean_defined([alone[key][number] for number in chosen])
            assert means[key][row] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_many_resamples_in_portions_are_the_same(monkeypatch):
    images = some_images(5)
    whole, _ = resampled(images)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 35)
    portions, _ = resampled(images)
    np.testing.assert_array_equal(whole["mean_iou"], portions["mean_iou"])


def test_interval_is_numpys_percentile_of_what_is_defined():
    values = np.array([*range(101), np.nan, np.nan], float)
    assert interval(values) == pytest.approx([2.5, 97.5])
    assert interval(np.array([np.nan])) is None


def test_intervals_hold_the_score_and_shrink_with_more_images():
    widths = []
    for count in (10, 160):
        images = some_images(count)
        record = intervals(images, ("background", "cat", "dog"))
        scores = images.total().scores()
        for key in ("pixel_accuracy", "mean_iou", "f1_macro", "brier", "boundary_iou"):
            low, high = record["dataset"][key]
            assert low < scores[key] < high
        widths.append(np.ptp(record["dataset"]["pixel_accuracy"]))
        assert set(record["per_class"]) == {"background", "cat", "dog"}
    assert widths[1] < 0.5 * widths[0]


def test_equal_images_leave_nothing_to_chance():
    one = counts_of([[50, 10], [20, 20]])
    record = intervals(Counts.stacked([one] * 8, 2), ("background", "cat"))
    low, high = record["dataset"]["mean_iou"]
    assert low == high == pytest.approx(one.scores()["mean_iou"])


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_says_nothing_of_others(count):
    record = intervals(some_images(1) if count else Counts.stacked([], 3), ("background", "cat", "dog"))
    assert record["dataset"]["mean_iou"] is None and record["per_class"]["cat"]["iou"] is None


def test_a_class_of_one_image_has_no_interval():
    only_cat, with_dog = counts_of([[50, 10, 0], [20, 20, 0], [0, 0, 0]]), counts_of([[50, 0, 9], [0, 9, 9], [1, 0, 9]])
    never_found = counts_of([[50, 0, 0], [0, 9, 0], [5, 0, 0]])
    names = "background", "cat", "dog"
    once = intervals(Counts.stacked([only_cat, with_dog, only_cat], 3), names)["per_class"]
    assert once["dog"]["iou"] is None
    assert once["cat"]["iou"][0] < once["cat"]["iou"][1]
    twice = intervals(Counts.stacked([never_found, never_found], 3), names)["per_class"]
    assert twice["dog"]["iou"] == [0, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 99))
def test_flat_counts_come_back(count, num_classes, seed):
    images = some_images(count, num_classes, seed)
    again = Counts.from_flat(images.flat(), num_classes)
    for name, values in vars(images).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    with pytest.raises(ValueError, match="numbers, not"):
        Counts.from_flat(images.flat(), num_classes + 1)


@pytest.mark.slow
def test_five_thousand_images_take_no_memory_worth_speaking_of():
    """A thousand resamples of them: the draws alone would be 40 MB at once."""
    import tracemalloc

    images = some_images(5000)
    tracemalloc.start()
    resampled(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
