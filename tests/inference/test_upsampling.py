"""Labels, probabilities and masks at any size, against torch's own upsampling."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segcore.errors import LabelError, UsageError
from segcore.inference import upsampling
from segcore.metrics.label_quality import label_quality


def smooth_logits(h, w, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 21, h // 6 + 2, w // 6 + 2, generator=generator) * 6
    noise = torch.randn(21, h, w, generator=generator) * 0.3
    return F.interpolate(coarse, (h, w), mode="bicubic")[0] + noise


def noisy_logits(h, w, seed=0):
    return torch.randn(21, h, w, generator=torch.Generator().manual_seed(seed)) * 5


def upsampled(logits, size_hw):
    return F.interpolate(logits[None], size_hw, mode="bilinear", align_corners=False)[0]


SIZES = [(480, 640), (37, 100), (520, 520), (33, 47), (7, 5), (1, 1), (1, 300), (200, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize(
    "logits", [smooth_logits(33, 47), noisy_logits(33, 47), noisy_logits(1, 1), noisy_logits(1, 9)]
)
def test_label_map_is_the_argmax_of_the_upsampled_logits(logits, size_hw):
    expected = upsampled(logits, size_hw).argmax(0).numpy()

    labels = upsampling.label_map(logits, size_hw)

    assert labels.dtype == np.uint8
    # Where the two highest are equal to the last bit or two, the order of additions decides.
    values = upsampled(logits, size_hw).sort(dim=0).values
    clear = (values[-1] - values[-2] > 1e-4).numpy()
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[clear], expected[clear])


def test_label_map_by_hand():
    logits = np.full((21, 1, 2), -9.0, np.float32)
    logits[0, 0] = 4, 0  # background fades from left to right
    logits[15, 0] = 0, 4
    np.testing.assert_array_equal(upsampling.label_map(logits, (1, 4)), [[0, 0, 15, 15]])


def test_of_equal_logits_the_lower_class_wins():
    assert (upsampling.label_map(np.zeros((21, 3, 4), np.float32), (30, 40)) == 0).all()


@pytest.mark.parametrize("stripe", [1, 1000, 20_000, 10**9])
def test_stripes_do_not_change_a_single_pixel(monkeypatch, stripe):
    logits, size_hw = noisy_logits(17, 23), (211, 307)
    labels = upsampling.label_map(logits, size_hw)
    probability = upsampling.probability(logits, size_hw, 15)
    any_object = upsampling.probability(logits, size_hw, None)

    monkeypatch.setattr(upsampling, "STRIPE_VALUES", stripe)

    np.testing.assert_array_equal(upsampling.label_map(logits, size_hw), labels)
    np.testing.assert_array_equal(upsampling.probability(logits, size_hw, 15), probability)
    np.testing.assert_array_equal(upsampling.probability(logits, size_hw, None), any_object)


def test_probabilities_are_the_softmax_after_upsampling():
    logits, size_hw = smooth_logits(33, 33), (120, 90)
    expected = upsampled(logits, size_hw).softmax(0).numpy()

    np.testing.assert_allclose(upsampling.probabilities(logits, size_hw), expected, atol=1e-5)
    np.testing.assert_allclose(upsampling.probability(logits, size_hw, 7), expected[7], atol=1e-5)
    np.testing.assert_allclose(upsampling.probability(logits, size_hw, None), 1 - expected[0], atol=1e-5)


def test_probability_of_very_confident_logits_is_finite():
    logits = torch.zeros(21, 2, 2)
    logits[3] = 2000
    assert (upsampling.probability(logits, (4, 4), 3) == 1).all()
    assert (upsampling.probability(logits, (4, 4), None) == 1).all()
    assert (upsampling.probability(logits, (4, 4), 5) == 0).all()


def test_mean_confidence_of_each_object():
    logits, size_hw = smooth_logits(33, 33), (200, 150)
    softmax = upsampled(logits, size_hw).softmax(0).numpy()
    labels = upsampling.label_map(logits, size_hw)

    confidence = upsampling.mean_confidence(logits, labels)

    assert np.isnan(confidence[0])
    for number in range(1, 21):
        own = softmax[number][labels == number]
        if own.size:
            assert confidence[number] == pytest.approx(own.mean(dtype=np.float64), abs=1e-5)
        else:
            assert np.isnan(confidence[number])


def test_binary_mask_without_threshold_is_the_argmax():
    logits, size_hw = smooth_logits(33, 33), (64, 80)
    labels = upsampling.label_map(logits, size_hw)
    present = int(labels[labels > 0].flat[0])

    np.testing.assert_array_equal(upsampling.binary_mask(logits, size_hw, present), labels == present)
    np.testing.assert_array_equal(upsampling.binary_mask(logits, size_hw, None), labels != 0)


def test_binary_mask_shrinks_as_the_threshold_rises():
    logits, size_hw = smooth_logits(33, 33), (64, 80)
    expected = upsampled(logits, size_hw).softmax(0)[4].numpy()
    masks = [upsampling.binary_mask(logits, size_hw, 4, threshold) for threshold in (0, 0.2, 0.5, 0.9)]

    assert masks[0].all()
    for larger, smaller in zip(masks, masks[1:], strict=False):
        assert not (smaller & ~larger).any()
    np.testing.assert_array_equal(masks[2], expected >= 0.5)


def test_errors():
    with pytest.raises(UsageError, match="from 0 to 1"):
        upsampling.binary_mask(noisy_logits(3, 3), (9, 9), 1, 1.5)
    with pytest.raises(LabelError, match="classes, h, w"):
        upsampling.label_map(np.zeros((3, 3), np.float32), (9, 9))
    with pytest.raises(LabelError, match="at least 1 x 1"):
        upsampling.label_map(noisy_logits(3, 3), (0, 9))


def by_bins(sure, right):
    """What is counted of pixels with those confidences, one after the other."""
    counted = np.zeros((3, 15))
    for confidence, is_right in zip(sure, right, strict=True):
        counted[:, min(int(confidence * 15), 14)] += 1, is_right, confidence
    return counted


@pytest.mark.parametrize("object_id", [None, 5])
def test_probabilities_are_judged_by_their_definitions(object_id):
    logits, size_hw = smooth_logits(17, 17), (60, 50)
    softmax = upsampling.probabilities(logits, size_hw)
    labels = upsampling.label_map(logits, size_hw)
    truth = np.where(np.random.default_rng(0).random(size_hw) < 0.5, labels, 3).astype(np.uint8)
    truth[:5] = 255
    counted = truth != 255

    judged = upsampling.judge_probabilities(logits, truth, labels)
    one_hot = np.eye(21)[np.where(counted, truth, 0)].transpose(2, 0, 1)
    expected = ((softmax - one_hot) ** 2)[:, counted]
    assert (judged.squared_error, judged.terms) == (pytest.approx(expected.sum(), rel=1e-5), expected.size)
    bins = by_bins(softmax.max(axis=0)[counted], (labels == truth)[counted])
    np.testing.assert_allclose([judged.pixels, judged.right, judged.confidence], bins, rtol=1e-4)

    binary_truth = np.where(counted, truth > 0 if object_id is None else truth == object_id, 255).astype(np.uint8)
    probability = 1 - softmax[0] if object_id is None else softmax[object_id]
    answer = (probability >= 0.3).astype(np.uint8)
    judged = upsampling.judge_probabilities(logits, binary_truth, answer, binary=True, object_id=object_id)
    expected = ((probability.astype(np.float64) - binary_truth) ** 2)[counted]
    assert (judged.squared_error, judged.terms) == (pytest.approx(expected.sum(), rel=1e-5), expected.size)
    bins = by_bins(np.where(answer == 1, probability, 1 - probability)[counted], (answer == binary_truth)[counted])
    np.testing.assert_allclose([judged.pixels, judged.right, judged.confidence], bins, rtol=1e-4)


def test_label_quality_is_the_softmin_of_the_annotated_classes_probabilities():
    logits, size_hw = smooth_logits(17, 17), (60, 50)
    labels = upsampling.label_map(logits, size_hw)
    truth = np.where(np.random.default_rng(0).random(size_hw) < 0.9, labels, 3).astype(np.uint8)
    truth[:5] = 255
    rows, columns = np.nonzero(truth != 255)
    own = upsampling.probabilities(logits, size_hw).astype(np.float64)[truth[rows, columns], rows, columns]

    def softmax(values):
        return np.exp(values) / np.exp(values).sum()

    judged = upsampling.judge_probabilities(logits, truth, labels)
    # Lad and Mueller 2023: the dot product of s and softmax((1 - s) / temperature)
    expected = own @ softmax((1 - own) / 0.1)
    assert label_quality(judged.softmin, judged.softmin_weight) == pytest.approx(expected, rel=1e-5)

    as_binary = np.where(truth == 255, 255, truth > 0).astype(np.uint8)
    judged = upsampling.judge_probabilities(logits, as_binary, np.minimum(labels, 1), binary=True)
    background = upsampling.probabilities(logits, size_hw).astype(np.float64)[0, rows, columns]
    own = np.where(truth[rows, columns] > 0, 1 - background, background)
    expected = own @ softmax((1 - own) / 0.1)
    assert label_quality(judged.softmin, judged.softmin_weight) == pytest.approx(expected, rel=1e-5)
