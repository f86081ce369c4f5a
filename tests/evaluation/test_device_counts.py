"""A graphics card decides and counts what the processor does: by PyTorch on a CPU, and on a card where there is one."""

import numpy as np
import pytest
import torch

from segcore.categories import VOC
from segcore.errors import LabelError, UsageError
from segcore.evaluation import device_counts, evaluate, score
from segcore.evaluation.counts import count
from segcore.evaluation.protocols import protocol
from segcore.inference import device_upsampling, upsampling
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.truth.layouts import open_dataset

SHIPPED = "deeplabv3_mobilenet_v2"
TASKS = [Task(), Task("binary"), Task("binary", "dog")]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a graphics card that CUDA drives")
    return request.param


def noise(*shape, seed=0):
    return 4 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", [(480, 640), (7, 500), (130, 130), (3, 2), (1, 1), (427, 333)])
@pytest.mark.parametrize("stripe", [1, 5000, device_upsampling.STRIPE_VALUES])
def test_labels_are_equal_to_the_last_pixel(device, size_hw, stripe, monkeypatch):
    monkeypatch.setattr(device_upsampling, "STRIPE_VALUES", stripe)
    for grid_hw in ((33, 41), (2, 5), (1, 1)):
        logits = noise(21, *grid_hw)
        expected = upsampling.label_map(logits, size_hw)
        assert np.array_equal(device_upsampling.label_map(logits.to(device), size_hw).cpu(), expected)


def test_of_equal_logits_the_lower_class_wins(device):
    logits = torch.zeros(21, 4, 4)
    logits[[3, 7]] = 1.5
    assert (device_upsampling.label_map(logits.to(device), (9, 11)) == 3).all()


@pytest.mark.parametrize("task", TASKS, ids=["multiclass", "any", "dog"])
@pytest.mark.parametrize("temperature", [None, 1.7])
def test_counts_are_those_of_the_processor(device, task, temperature):
    logits = noise(21, 33, 41)
    labels = np.random.default_rng(0).integers(0, 21, (200, 310)).astype(np.uint8)
    labels[:40] = 255
    truth = task.truth(labels)
    prediction, counts = device_counts.predict_and_count(logits.to(device), truth, task, temperature)
    expected = task.predict(logits, truth.shape)
    assert np.array_equal(prediction, expected) and prediction.dtype == np.uint8
    assert_same_but_for_exp(counts, count(logits, expected, truth, task, temperature), pixels=truth.size)


def assert_same_but_for_exp(given, expected, *, pixels):
    """Integers are equal; sums of probabilities, in 65,536ths, to a millionth of what they are; bins but for a pixel or
    two at their edges.
    """
    for name in ("matrix", "boundary_intersection", "boundary_union", "squared_error_terms"):
        assert np.array_equal(getattr(given, name), getattr(expected, name)), name
    np.testing.assert_allclose(given.squared_error, expected.squared_error, rtol=1e-6)
    np.testing.assert_allclose(given.softmin, expected.softmin, rtol=1e-6)
    for name in ("reliability", "uncalibrated"):
        ours, theirs = getattr(given, name), getattr(expected, name)
        assert ours[0].sum() == theirs[0].sum()
        assert np.abs(ours[:2] - theirs[:2]).max() <= 1 + pixels // 10_000
        np.testing.assert_allclose(ours[2].sum(), theirs[2].sum(), rtol=1e-6)
    assert np.array_equal(given.by_threshold.sum(axis=1), expected.by_threshold.sum(axis=1))
    assert np.abs(given.by_threshold - expected.by_threshold).max(initial=0) <= 1 + pixels // 10_000


def test_errors():
    with pytest.raises(LabelError, match="the target holds the value 30"):
        device_counts.predict_and_count(noise(21, 3, 3), np.full((9, 9), 30, np.uint8), Task())
    with pytest.raises(UsageError, match="tells 5 classes apart, and the task 21"):
        device_counts.predict_and_count(noise(5, 3, 3), np.zeros((9, 9), np.uint8), Task(categories=VOC))


def without_exp(record):
    """All that does not hang on the last bits of probabilities."""
    dropped = {"seconds", "brier", "reliability", "calibration_error", "label_quality", "threshold_curve"}
    if isinstance(record, dict):
        return {key: without_exp(value) for key, value in record.items() if key not in dropped}
    return [without_exp(each) for each in record] if isinstance(record, list | tuple) else record


@pytest.mark.parametrize("task", TASKS[:2], ids=["multiclass", "any"])
@pytest.mark.slow
def test_an_evaluation_has_the_scores_of_the_processor(nine_coco, task, monkeypatch):
    dataset = open_dataset(nine_coco)
    segmenter = Segmenter(SHIPPED, device="cpu", precision="float32")
    run = evaluate.Run(segmenter, dataset, protocol("report"), task, dataset.images[:4])
    here = evaluate.evaluate(run).to_dict()
    monkeypatch.setattr(device_counts, "is_card", lambda device: True)
    counted = []
    by_card = score.predict_and_count
    monkeypatch.setattr(score, "predict_and_count", lambda *given: counted.append(given) or by_card(*given))
    there = evaluate.evaluate(run).to_dict()
    assert len(counted) == 4
    assert without_exp(there) == without_exp(here)
    assert there["dataset"]["brier"] == pytest.approx(here["dataset"]["brier"], rel=1e-5)


@pytest.mark.parametrize("task", [Task("binary", "dog", 0.4), Task()])
def test_thresholds_and_refined_borders_are_left_to_the_processor(nine_coco, task):
    dataset = open_dataset(nine_coco)
    segmenter = Segmenter(SHIPPED, device="cpu", precision="float32")
    segmenter.device = "cuda:0"
    segmenter.refine = None if task.binary else "edges"
    assert not device_counts.counts_on_card(evaluate.Run(segmenter, dataset, protocol("report"), task, dataset.images))
