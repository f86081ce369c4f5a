"""What must hold of the scores of any label maps: scikit-learn's answers, definitions, symmetries and bounds."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segcore.classes import IGNORE_INDEX
from segcore.metrics import confusion
from segcore.metrics.boundary import boundary_counts, boundary_iou

NUM_CLASSES = 6
CLASSES = range(NUM_CLASSES)
EXACT = {"rel": 0, "abs": 1e-9, "nan_ok": True}
# Up to d = 3 pixels of boundary, too narrow for any interior, and a single pixel.
SIZES = [(1, 1), (1, 9), (5, 7), (8, 8), (9, 66), (17, 123), (3, 140), (130, 7)]

quickly = settings(max_examples=60, deadline=None)


@st.composite
def label_maps(draw, sizes=tuple(SIZES), classes=NUM_CLASSES):
    """Truth and prediction, uint8 (H, W): regions or noise, of some of the classes, the truth with 255 here and there.

    All of the truth may be ignored, both maps may be of one class, and each may hold classes that the other lacks.
    """
    height, width = draw(st.sampled_from(sizes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grain = draw(st.sampled_from([1, 4, 200]))  # the side of the patches, up to a single one

    def one(values):
        patches = rng.choice(values, (-(-height // grain), -(-width // grain)))
        return patches.repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width].astype(np.uint8)

    some = st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes)
    truth, prediction = one(draw(some)), one(draw(some))
    truth[rng.random(truth.shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))] = IGNORE_INDEX
    return truth, prediction


def counted_pixels(maps):
    """Truth and prediction, uint8 (n,), where the truth is not 255."""
    counted = maps[0] != IGNORE_INDEX
    return maps[0][counted], maps[1][counted]


def boundary_definition(truth, prediction, num_classes):
    """Intersections and unions of the boundary bands: a mask's pixels from which another or the outside is d away."""
    side = 2 * max(1, round(0.02 * np.hypot(*truth.shape))) + 1
    counted, counts = truth != IGNORE_INDEX, np.zeros((2, num_classes), np.int64)
    for number in range(num_classes):
        bands = [
            mask & (ndimage.minimum_filter(mask.astype(np.uint8), side, mode="constant", cval=0) == 0)
            for mask in ((truth == number) & counted, (prediction == number) & counted)
        ]
        counts[:, number] = (bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum()
    return counts


# ---- against scikit-learn and the definition


@pytest.mark.slow
@quickly
@given(label_maps())
@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")  # of classes on one side only, or one class alone
def test_every_score_is_scikit_learns(maps):
    matrix = confusion.confusion_matrix(*maps, NUM_CLASSES)
    scores = confusion.scores(matrix)
    pair = counted_pixels(maps)
    if pair[0].size == 0:  # scikit-learn has no answer to that
        assert not matrix.any() and scores.pop("classes_counted") == 0
        assert all(np.isnan(values).all() for values in scores.values())
        return

    assert np.array_equal(matrix, sklearn.metrics.confusion_matrix(*pair, labels=CLASSES))
    # The classes that scikit-learn finds by itself, those on either side, are the ones that count here.
    present = np.union1d(*pair)
    assert scores["classes_counted"] == len(present)
    assert scores["pixel_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(*pair), **EXACT)
    assert scores["mean_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(*pair), **EXACT)
    for score, per_class, macro, weighted in (
        (sklearn.metrics.jaccard_score, "iou", "mean_iou", "frequency_weighted_iou"),
        (sklearn.metrics.f1_score, "f1", "f1_macro", "f1_weighted"),
    ):
        assert scores[per_class][present] == pytest.approx(score(*pair, average=None), **EXACT)
        assert np.isnan(np.delete(scores[per_class], present)).all()
        assert scores[macro] == pytest.approx(score(*pair, average="macro"), **EXACT)
        assert scores[weighted] == pytest.approx(score(*pair, average="weighted"), **EXACT)
    for key, score in (("precision", sklearn.metrics.precision_score), ("recall", sklearn.metrics.recall_score)):
        expected = score(*pair, average=None, labels=CLASSES, zero_division=np.nan)
        assert scores[key] == pytest.approx(expected, **EXACT)


@quickly
@given(label_maps(classes=21), st.one_of(st.none(), st.integers(1, 20)))
def test_binary_mode_is_scikit_learn_on_the_derived_masks(maps, class_id):
    scores = confusion.scores(confusion.confusion_matrix(*(confusion.to_binary(each, class_id) for each in maps), 2))
    truth, prediction = (each > 0 if class_id is None else each == class_id for each in counted_pixels(maps))
    if truth.size == 0:
        assert np.isnan(scores["pixel_accuracy"]) and np.isnan(scores["iou"]).all()
        return
    accuracy = sklearn.metrics.accuracy_score(truth, prediction)
    assert scores["pixel_accuracy"] == pytest.approx(accuracy, **EXACT)
    assert scores["mse"] == pytest.approx(sklearn.metrics.mean_squared_error(truth, prediction), **EXACT)
    assert scores["mse"] == pytest.approx(1 - accuracy, **EXACT)
    for key, score in (("iou", sklearn.metrics.jaccard_score), ("f1", sklearn.metrics.f1_score)):
        expected = score(truth, prediction) if (truth | prediction).any() else np.nan
        assert scores[key][1] == pytest.approx(expected, **EXACT)


@quickly
@given(label_maps())
def test_boundaries_are_those_of_the_definition(maps):
    assert np.array_equal(boundary_counts(*maps, NUM_CLASSES), boundary_definition(*maps, NUM_CLASSES))


# ---- symmetries


def counts(truth, prediction):
    """All integers that scores are made of, in one array (n, n + 2)."""
    matrix = confusion.confusion_matrix(truth, prediction, NUM_CLASSES)
    return np.column_stack([matrix, *boundary_counts(truth, prediction, NUM_CLASSES)])


@quickly
@given(label_maps(), st.permutations(CLASSES))
def test_permuting_all_classes_permutes_the_counts(maps, order):
    renamed = np.arange(IGNORE_INDEX + 1, dtype=np.uint8)
    renamed[: len(order)] = order
    before, after = counts(*maps), counts(*(renamed[each] for each in maps))
    assert np.array_equal(after[np.ix_(order, [*order, NUM_CLASSES, NUM_CLASSES + 1])], before)


@quickly
@given(label_maps())
def test_turning_both_maps_changes_nothing(maps):
    before = counts(*maps)
    for turn in (np.flipud, np.fliplr, np.transpose, np.rot90):
        assert np.array_equal(counts(*map(turn, maps)), before)


@quickly
@given(st.lists(label_maps(), min_size=2, max_size=4), st.randoms(use_true_random=False), st.data())
def test_the_order_and_the_grouping_of_images_change_no_sum(images, random, data):
    total = sum(counts(*maps) for maps in images)
    shuffled = random.sample(images, len(images))
    assert np.array_equal(sum(counts(*maps) for maps in shuffled), total)

    pixels = [np.concatenate([each.ravel() for each in maps]) for maps in zip(*shuffled, strict=True)]
    cuts = sorted(data.draw(st.lists(st.integers(0, pixels[0].size), max_size=3)))
    parts = zip(*(np.split(each, cuts) for each in pixels), strict=True)
    matrix = sum(confusion.confusion_matrix(*part, NUM_CLASSES) for part in parts)
    assert np.array_equal(matrix, total[:, :NUM_CLASSES])


@quickly
@given(label_maps())
def test_swapping_truth_and_prediction_swaps_precision_and_recall(maps):
    truth, prediction = np.where(maps[0] == IGNORE_INDEX, 0, maps[0]), maps[1]
    there = confusion.scores(confusion.confusion_matrix(truth, prediction, NUM_CLASSES))
    back = confusion.scores(confusion.confusion_matrix(prediction, truth, NUM_CLASSES))
    for key, other in (("iou", "iou"), ("f1", "f1"), ("precision", "recall"), ("recall", "precision")):
        assert there[key] == pytest.approx(back[other], **EXACT)
    for key in ("pixel_accuracy", "mean_iou", "f1_macro", "mse"):
        assert there[key] == pytest.approx(back[key], **EXACT)


# ---- bounds and relations


@quickly
@given(label_maps())
def test_scores_are_undefined_or_from_0_to_1(maps):
    scores = confusion.scores(confusion.confusion_matrix(*maps, NUM_CLASSES))
    boundary = boundary_iou(*boundary_counts(*maps, NUM_CLASSES))
    assert scores.pop("classes_counted") in range(NUM_CLASSES + 1)
    for key, values in {**scores, "boundary_iou": boundary}.items():
        values = np.asarray(values)
        assert np.all(np.isnan(values) | ((values >= 0) & (values <= 1))), key


@quickly
@given(label_maps())
def test_f1_follows_from_iou(maps):
    scores = confusion.scores(confusion.confusion_matrix(*maps, NUM_CLASSES))
    assert scores["f1"] == pytest.approx(2 * scores["iou"] / (1 + scores["iou"]), **EXACT)


@quickly
@given(label_maps())
def test_a_right_prediction_has_every_score_1(maps):
    truth, unseen = maps  # where the truth is ignored, nothing that is predicted may matter
    counted = truth != IGNORE_INDEX
    prediction = np.where(counted, truth, unseen)
    scores = confusion.scores(confusion.confusion_matrix(truth, prediction, NUM_CLASSES))
    boundary = boundary_iou(*boundary_counts(truth, prediction, NUM_CLASSES))
    present = np.unique(truth[counted])
    assert scores.pop("classes_counted") == len(present)
    assert np.all(boundary[present] == 1)
    assert np.isnan(scores["mse"]) if present.size == 0 else scores["mse"] == 0
    for key, values in {**scores, "boundary_iou": boundary}.items():
        assert key == "mse" or np.all(np.isnan(values) | (np.asarray(values) == 1)), key
    assert present.size == 0 or scores["pixel_accuracy"] == scores["mean_iou"] == 1
