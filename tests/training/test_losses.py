"""Losses and learning rates, by hand and against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from segcore.training import losses, soft_labels
from segcore.training.loop import learning_rate
from segcore.training.settings import TrainSettings


def test_cross_entropy_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.9], [0.5, 0.75, 0.1]])).view(1, 2, 1, 3)
    labels = np.array([[0, 1, 255]], np.uint8)
    expected = -(math.log(0.5) + math.log(0.75)) / 2
    certain = torch.from_numpy(soft_labels.of_labels(labels, 2))[None] / 255
    assert losses.cross_entropy(logits, certain).item() == pytest.approx(expected, rel=1e-5)
    weighted = -(3 * math.log(0.5) + math.log(0.75)) / 4
    assert losses.cross_entropy(logits, certain, torch.tensor([3.0, 1.0])).item() == pytest.approx(weighted, rel=1e-5)
    assert losses.cross_entropy(logits, torch.zeros_like(certain)).item() == 0
    assert losses.hard_labels(certain).tolist() == [[[0, 1, 255]]]


def test_cross_entropy_with_soft_labels_equals_pytorchs():
    torch.manual_seed(0)
    logits, shares = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5).softmax(1)
    expected = torch.nn.functional.cross_entropy(logits, shares)
    assert losses.cross_entropy(logits, shares).item() == pytest.approx(expected.item(), rel=1e-5)


def test_dice_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.9], [0.5, 0.75, 0.1]])).view(1, 2, 1, 3)
    labels = torch.tensor([[[0, 1, 255]]])
    of_0, of_1 = 2 * 0.5 / (1 + 0.75), 2 * 0.75 / (1 + 1.25)
    assert losses.dice(logits, labels).item() == pytest.approx(1 - (of_0 + of_1) / 2, rel=1e-5)


def test_balancing_weights_by_hand():
    weights = losses.balancing_weights(torch.tensor([80, 15, 1, 0, 10**9]))
    assert weights[3] == 1 and weights.min() == pytest.approx(0.1) and weights.max() == 10
    np.testing.assert_allclose(losses.balancing_weights(torch.tensor([60, 30, 10])), [0.5, 1, 3], rtol=1e-6)


def test_learning_rate(tmp_path):
    settings = TrainSettings(coco=tmp_path, out=tmp_path, steps=1000, learning_rate=0.5)
    assert learning_rate(settings, 1) == pytest.approx(0.01)
    assert learning_rate(settings, 501) == pytest.approx(0.5 * 0.5**0.9)
    assert 0 < learning_rate(settings, 1000) < 0.002
