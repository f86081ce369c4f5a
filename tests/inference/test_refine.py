"""Borders that follow the photograph: on pictures whose edge is known, and wherever a result is decided."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from segcore.errors import ImageError, LabelError, UsageError
from segcore.inference import refine, upsampling
from segcore.inference.export import decide
from segcore.inference.provenance import Provenance
from segcore.inference.refine import Edges
from segcore.inference.segmentation import Segmentation
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from tests.inference.test_segmenter import peak_bytes

cv2 = pytest.importorskip("cv2")
ROOT = Path(__file__).parents[2]
CAT, DOG, PERSON = 8, 12, 15
SIZE_HW = HEIGHT, WIDTH = 120, 160
EDGE, SEEN = 80, 76  # the column where the photograph changes, and where the network sees its border
LEFT, RIGHT = (40, 60, 50), (200, 180, 170)


def photograph(edge: int | None = EDGE, size_hw=SIZE_HW) -> np.ndarray:
    """Dark on the left and light on the right of a column; None: of one colour. Uint8 (H, W, 3)."""
    picture = np.empty((*size_hw, 3), np.uint8)
    picture[:] = RIGHT
    picture[:, :edge] = LEFT
    return picture


def logits_of(*runs: tuple[int, int], classes: int = 21, sure: float = 8) -> np.ndarray:
    """Float32 (classes, 30, 40), a grid of 4 pixels: from left to right, (class, columns) each."""
    row = np.concatenate([np.full(columns, number) for number, columns in runs])
    return np.broadcast_to(sure * (np.arange(classes)[:, None, None] == row), (classes, 30, 40)).astype(np.float32)


CAT_ON_THE_LEFT = logits_of((CAT, SEEN // 4), (0, 40 - SEEN // 4))


def borders(mask: np.ndarray) -> np.ndarray:
    """The columns at which the rows of a mask, bool (H, W), change: one a row."""
    rows, columns = np.nonzero(mask[:, 1:] != mask[:, :-1])
    np.testing.assert_array_equal(rows, np.arange(len(mask)))
    return columns + 1


def result_of(logits, picture, *, keep=True) -> Segmentation:
    provenance = Provenance("some_model", "ab" * 32, "squeeze", "cpu", "float32", 0.25)
    return Segmentation(logits, picture.shape[:2], provenance, picture if keep else None)


# ---- what the smoothing does


def test_the_border_moves_to_the_photographs_edge():
    plain = upsampling.label_map(CAT_ON_THE_LEFT, SIZE_HW)
    assert (borders(plain == CAT) == SEEN).all()

    refined = Edges(CAT_ON_THE_LEFT, photograph()).label_map(SIZE_HW)

    assert refined.dtype == np.uint8
    assert (borders(refined == CAT) == EDGE).all()


def test_a_flat_photograph_leaves_a_straight_border_where_it_was():
    refined = Edges(CAT_ON_THE_LEFT, photograph(None)).label_map(SIZE_HW)
    assert (np.abs(borders(refined == CAT) - SEEN) <= 2).all()


def test_a_flat_photograph_smooths_alone():
    """No probability is higher than the highest there was, and what is far from a border stays as it was."""
    edges = Edges(CAT_ON_THE_LEFT, photograph(None))
    plain = upsampling.probability(CAT_ON_THE_LEFT, SIZE_HW, CAT)
    smoothed = edges.smoothed([CAT])[0]
    assert plain.min() - 1e-4 <= smoothed.min() and smoothed.max() <= plain.max() + 1e-4
    assert np.abs(np.diff(smoothed)).max() < np.abs(np.diff(plain)).max() / 2
    assert smoothed.mean() == pytest.approx(plain.mean(), abs=1e-3)


def test_a_picture_of_one_class_stays_as_it_is():
    for number in (0, CAT):
        logits = logits_of((number, 40))
        assert (Edges(logits, photograph()).label_map(SIZE_HW) == number).all()


def test_a_class_that_is_found_nowhere_does_not_appear():
    logits = np.zeros((21, *SIZE_HW), np.float32)
    logits[CAT, :, ::2] = logits[PERSON, :, 1::2] = 8
    logits[DOG] = 7.9  # everywhere second, so that it is first where cat and person are mixed
    edges = Edges(logits, photograph(None))
    cat, dog, person = edges.smoothed([CAT, DOG, PERSON])

    assert ((dog > cat) & (dog > person)).mean() > 0.5
    assert set(np.unique(edges.label_map(SIZE_HW))) == {CAT, PERSON}


def test_probabilities_of_all_classes_add_up_to_one():
    logits = 20 * np.random.default_rng(0).standard_normal((21, 30, 40), np.float32)
    smoothed = Edges(logits, photograph()).smoothed(range(21))
    assert smoothed.min() >= 0 and smoothed.max() <= 1
    np.testing.assert_allclose(smoothed.sum(axis=0), 1, atol=1e-3)


def test_without_smoothness_the_probabilities_are_the_networks(monkeypatch):
    monkeypatch.setattr(refine, "SMOOTHNESS", 0.0)
    logits = 5 * np.random.default_rng(0).standard_normal((21, 30, 40), np.float32)
    smoothed = Edges(logits, photograph()).smoothed(range(21))
    np.testing.assert_allclose(smoothed, upsampling.probabilities(logits, SIZE_HW), atol=1e-5)


def test_impossible_classes_and_huge_logits_give_numbers():
    logits = logits_of((CAT, SEEN // 4), (0, 40 - SEEN // 4), sure=60_000).astype(np.float16)
    logits[DOG] = -np.inf
    refined = Edges(logits, photograph()).label_map(SIZE_HW)
    assert (borders(refined == CAT) == EDGE).all()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 90), (90, 1), (3, 2), (3, 40_000)], ids=str)
def test_photographs_of_any_shape(size_hw):
    labels = Edges(CAT_ON_THE_LEFT, photograph(size_hw=size_hw)).label_map(size_hw)
    assert labels.shape == size_hw and set(np.unique(labels)) <= {0, CAT}


@pytest.mark.parametrize("scale", [0.5, 2, 3])
def test_another_size_has_the_same_border(scale):
    size_hw = round(HEIGHT * scale), round(WIDTH * scale)
    refined = Edges(CAT_ON_THE_LEFT, photograph()).label_map(size_hw)
    assert (np.abs(borders(refined == CAT) - EDGE * scale) <= scale).all()


def test_two_sizes_that_take_turns_are_smoothed_once_each(monkeypatch):
    calls, smoothed = [], Edges.smoothed
    monkeypatch.setattr(Edges, "smoothed", lambda *args: calls.append(args) or smoothed(*args))
    edges, small = Edges(CAT_ON_THE_LEFT, photograph()), (HEIGHT // 2, WIDTH // 2)
    first = [edges.label_map(size_hw) for size_hw in (SIZE_HW, small)]
    again = [edges.label_map(size_hw) for size_hw in (SIZE_HW, small)]
    assert len(calls) == 2
    assert all(map(np.array_equal, first, again)) and [each.shape for each in again] == [SIZE_HW, small]


def test_the_reach_grows_with_the_photograph():
    """The same picture three times as large: the same border, which the network saw 4 pixels off, and now sees 12."""
    size_hw = 3 * HEIGHT, 3 * WIDTH
    refined = Edges(CAT_ON_THE_LEFT, photograph(3 * EDGE, size_hw)).label_map(size_hw)
    assert (borders(refined == CAT) == 3 * EDGE).all()


@pytest.mark.slow
def test_a_large_photograph_takes_bounded_memory():
    size_hw = 3000, 4000
    large = photograph(2000, size_hw)
    labels = None

    def refined():
        nonlocal labels
        labels = Edges(CAT_ON_THE_LEFT, large).label_map(size_hw)

    assert peak_bytes(refined) < 12e6 + 60e6  # the label map, and what is smoothed; one plane of its size would be 48e6
    assert (np.abs(borders(labels == CAT) - 2000) <= 4).all()


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_number_of_threads_changes_nothing_and_stays_as_it_was(threads):
    logits = 5 * np.random.default_rng(0).standard_normal((21, 30, 40), np.float32)
    noise = np.random.default_rng(1).integers(0, 256, (121, 163, 3), np.uint8)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = Edges(logits, noise).smoothed(range(21))
        cv2.setNumThreads(threads)
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda _: Edges(logits, noise).smoothed(range(21)), range(8)))
        assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
    for each in together:
        np.testing.assert_array_equal(each, alone)


# ---- results


def test_threshold_and_automatic_masks_have_the_smoothed_border():
    edges = Edges(CAT_ON_THE_LEFT, photograph())
    for task in (Task(), Task("binary", "cat"), Task("binary"), Task("binary", "cat", 0.5), Task("binary", "any", 0.5)):
        assert (borders(task.predict(CAT_ON_THE_LEFT, SIZE_HW, edges) > 0) == EDGE).all(), task
    assert (Task("binary", "cat", 0).predict(CAT_ON_THE_LEFT, SIZE_HW, edges) == 1).all()
    assert not Task("binary", "cat", 1).predict(CAT_ON_THE_LEFT, SIZE_HW, edges).any()
    assert not Task("binary", "dog").predict(CAT_ON_THE_LEFT, SIZE_HW, edges).any()


def test_labels_probabilities_and_masks_of_a_refined_result_fit_each_other():
    rng = np.random.default_rng(0)
    logits = np.kron(rng.standard_normal((21, 5, 5)), np.ones((1, 3, 4))).astype(np.float32) * 3
    result = result_of(logits, rng.integers(0, 256, (*SIZE_HW, 3), np.uint8)).refined()
    labels, probabilities = result.labels, result.probabilities()

    present = np.unique(labels)
    np.testing.assert_array_equal(present[probabilities[present].argmax(axis=0)], labels)
    for name, plane in (("cat", probabilities[CAT]), ("any", 1 - probabilities[0])):
        np.testing.assert_allclose(result.probability(name), plane, atol=1e-6)
        np.testing.assert_array_equal(result.binary(name, 0.3), result.probability(name) >= np.float32(0.3))
    np.testing.assert_array_equal(result.binary("cat"), labels == CAT)
    np.testing.assert_array_equal(result.binary(), labels != 0)
    assert (labels != result_of(logits, result.image).labels).any()
    confidence = result.mean_confidence(labels)
    for number in present[present > 0]:
        assert confidence[number] == pytest.approx(probabilities[number][labels == number].mean(), abs=1e-5)


@pytest.mark.parametrize("task", [Task(), Task("binary", "cat"), Task("binary"), Task("binary", "cat", 0.2)], ids=str)
def test_what_is_found_is_told_of_the_smoothed_probabilities(task):
    result = result_of(CAT_ON_THE_LEFT, photograph()).refined()
    (found,) = decide(result, task).found()

    name = task.class_name if task.binary else "cat"
    mask = result.binary(name, task.threshold)
    assert found.pixels == mask.sum()
    assert found.confidence == pytest.approx(result.probability(name)[mask].mean(), abs=1e-3)
    np.testing.assert_array_equal(np.asarray(decide(result, task).labels_image()), CAT * mask)


def test_a_small_threshold_of_any_object_is_exported_with_classes():
    result = result_of(CAT_ON_THE_LEFT, photograph()).refined()
    exported = np.asarray(decide(result, Task("binary", "any", 0.1)).labels_image())
    np.testing.assert_array_equal(exported > 0, result.probability("any") >= np.float32(0.1))
    assert (exported[result.labels == CAT] == CAT).all()


def test_a_result_is_refined_by_its_photograph_or_another_copy_of_it():
    plain = result_of(CAT_ON_THE_LEFT, photograph())
    refined = plain.refined()
    assert (plain.provenance.refine, refined.provenance.refine) == (None, "edges")
    assert (borders(plain.labels == CAT) == SEEN).all()
    assert (borders(refined.labels == CAT) == EDGE).all()
    labels = refined.labels
    labels[:] = 0  # the caller's own
    assert (borders(refined.labels == CAT) == EDGE).all()

    small = photograph(EDGE // 2, (HEIGHT // 2, WIDTH // 2))
    again = plain.without_image().refined(small)
    assert (np.abs(borders(again.labels == CAT) - EDGE) <= 2).all()


def test_without_its_photograph_nothing_can_be_refined():
    for gone in (
        result_of(CAT_ON_THE_LEFT, photograph(), keep=False),
        result_of(CAT_ON_THE_LEFT, photograph()).refined().without_image(),
    ):
        with pytest.raises(UsageError, match=r"refined\(photograph\)"):
            gone.refined()
    for derive in (lambda: gone.labels, lambda: gone.binary("cat"), lambda: gone.probability("cat")):
        with pytest.raises(UsageError, match=r"refined\(photograph\)"):
            derive()
    with pytest.raises(UsageError, match=r"refined\(photograph\)"):
        decide(gone, Task())


def test_errors():
    with pytest.raises(LabelError, match="classes, h, w"):
        Edges(np.zeros((3, 3), np.float32), photograph())
    with pytest.raises(ImageError, match="uint8"):
        Edges(CAT_ON_THE_LEFT, photograph().astype(np.float32))
    with pytest.raises(UsageError, match="from 0 to 1"):
        Edges(CAT_ON_THE_LEFT, photograph()).binary_mask(SIZE_HW, CAT, 2)


# ---- the segmenter, and the package


@pytest.mark.slow
def test_a_segmenter_refines_all_that_it_gives(examples_coco):
    path = examples_coco / "samples" / "000000900002.jpg"
    refined = Segmenter("deeplabv3_mobilenet_v2", device="cpu", precision="float32", refine="edges")(path)
    assert refined.provenance.refine == "edges"
    np.testing.assert_array_equal(refined.labels, Edges(refined.logits, refined.image).label_map(refined.size_hw))
    share = (refined.labels == CAT).mean()
    assert share > 0.3 and (refined.labels != upsampling.label_map(refined.logits, refined.size_hw)).any()


def test_an_unknown_refinement():
    with pytest.raises(UsageError, match="no refinement 'crf'.*'edges'"):
        Segmenter("deeplabv3_mobilenet_v2", refine="crf")


@pytest.mark.parametrize("there", ["nothing", "opencv-python"])
def test_a_missing_package_is_named_with_its_command(monkeypatch, there):
    monkeypatch.setitem(sys.modules, "cv2", None if there == "nothing" else type(sys)("cv2"))
    for use in (
        lambda: Segmenter("deeplabv3_mobilenet_v2", refine="edges"),
        lambda: Edges(CAT_ON_THE_LEFT, photograph()),
    ):
        with pytest.raises(UsageError, match="pip install opencv-contrib-python-headless"):
            use()


@pytest.mark.slow
def test_opencv_is_imported_by_those_who_refine_alone():
    code = "import sys, segcore.cli.main, segcore.evaluation.evaluate; print('cv2' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "False"
