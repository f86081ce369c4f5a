"""Calibration: probabilities that say how often they are right, and label maps that stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from segcore import Segmenter
from segcore.errors import UsageError, WeightsError
from segcore.evaluation import counts
from segcore.inference import upsampling
from segcore.inference.task import Task
from segcore.models import checkpoint, loading
from segcore.training import calibrate
from segcore.truth.layouts import open_dataset
from tests.helpers.samples import CAT, DOG, RIDERS, write_samples

SHIPPED = "deeplabv3_mobilenet_v2"


@pytest.fixture
def hot(tmp_path):
    """The shipped model with a temperature of 2."""
    path = tmp_path / "hot.safetensors"
    shipped = loading.weights_path(SHIPPED)
    checkpoint.write(path, replace(checkpoint.read_header(shipped), temperature=2.0), load_file(shipped))
    return path


def test_a_temperature_is_found_again():
    """Labels drawn by the softmax of logits / 1.7 are best told by a temperature of 1.7."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (20_000, 5))
    chances = np.exp(logits / 1.7)
    chances /= chances.sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)
    assert calibrate.fit_temperature(logits, labels) == pytest.approx(1.7, rel=0.03)
    with pytest.raises(UsageError, match="no labelled pixel"):
        calibrate.fit_temperature(logits[:0], labels[:0])


@pytest.mark.slow
def test_probabilities_change_and_labels_stay(hot, examples_coco):
    photograph = next((examples_coco / "samples").glob("*.jpg"))
    cold = replace_temperature(hot, None)
    before, after = (Segmenter(path, precision="float32")(photograph, dtype="float32") for path in (cold, hot))
    assert np.array_equal(before.labels, after.labels)
    np.testing.assert_allclose(after.logits * 2, before.logits, rtol=1e-6)
    assert after.probabilities().max(axis=0).mean() < before.probabilities().max(axis=0).mean()


def replace_temperature(path, temperature):
    other = path.with_name("other.safetensors")
    checkpoint.write(other, replace(checkpoint.read_header(path), temperature=temperature), load_file(path))
    return other


def test_an_evaluation_says_what_the_temperature_changed():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (21, 9, 9)).astype(np.float32)
    truth = rng.integers(0, 21, (40, 50)).astype(np.uint8)
    prediction = upsampling.label_map(logits, truth.shape)
    plain = counts.count(logits, prediction, truth, Task())
    divided = counts.count(logits / 2, prediction, truth, Task(), temperature=2.0)
    assert np.array_equal(divided.uncalibrated[:2], plain.reliability[:2])
    record = divided.reliability_record(2.0)
    assert record["temperature"] == 2.0 and len(record["bins"]) == 15
    assert record["calibration_error_before"] == pytest.approx(
        plain.reliability_record()["calibration_error"], abs=1e-5
    )
    assert record["calibration_error"] < record["calibration_error_before"]  # random truth: less sure is better
    assert plain.reliability_record()["calibration_error_before"] is None
    # By hand: |accuracy - confidence| of each bin, weighted by its pixels.
    sure = upsampling.probabilities(logits, truth.shape).max(axis=0)
    bins = np.minimum((sure * 15).astype(int), 14)
    by_hand = sum(
        (bins == each).mean() * abs((prediction == truth)[bins == each].mean() - sure[bins == each].mean())
        for each in np.unique(bins)
    )
    assert plain.reliability_record()["calibration_error"] == pytest.approx(by_hand, abs=1e-4)


@pytest.mark.slow
def test_the_command(hot, tmp_path, capsys):
    folder = write_samples(tmp_path, (RIDERS, CAT, DOG))
    out = tmp_path / "calibrated.safetensors"
    assert calibrate.main([str(hot), "--dataset", str(folder), "--to", str(out)]) == 0
    fitted = checkpoint.read_header(out).temperature
    assert f"temperature {fitted}" in capsys.readouterr().out
    again = calibrate.calibrate(replace_temperature(hot, None), open_dataset(folder))
    assert again.temperature == pytest.approx(fitted, abs=0.01)  # what the file had before plays no part
    assert all(torch.equal(value, load_file(out)[name]) for name, value in load_file(hot).items())
    assert calibrate.main([str(tmp_path / "none.safetensors"), "--dataset", str(folder), "--to", str(out)]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("temperature", [0, -1.0, float("inf"), float("nan"), "hot"])
def test_a_temperature_that_cannot_be(hot, temperature):
    path = replace_temperature(hot, temperature)
    with pytest.raises(WeightsError):
        checkpoint.read_header(path)
