"""The files of trained models: what they keep, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from segcore import Segmenter
from segcore.categories import Categories
from segcore.errors import WeightsError
from segcore.models import checkpoint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b"\x10\0\0\0\0\0\0\0{}              ", "not their categories"),
        (None, "cannot be read"),
        ((2000).to_bytes(8, "little") + b'{"' + b"x " * 995 + b'": 1   }', "is damaged; train it again$"),
    ],
)
def test_a_file_that_is_no_trained_model(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        Segmenter(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "of schema 2, and this segcore knows 1"),
        ({"categories": [{"name": None, "friendly": "x", "also": []}] * 2}, "must be a text, not None"),
        ({"categories": 3}, "does not say of its model what training writes"),
        ({"network": []}, "does not say of its model what training writes"),
        ({"network": "\x1f"}, "does not say of its model what training writes"),
        ({"preprocess": {"size": 520.5, "mean": [0, 0, 0], "std": [1, 1, 1]}}, "what training writes"),
        ({"preprocess": {"size": 10**20, "mean": [0, 0, 0], "std": [1, 1, 1]}}, "a size from 1 to 4,000 pixels"),
        ({"preprocess": {"size": 520, "mean": [0, 0, "0"], "std": [1, 1, 1]}}, "what training writes"),
    ],
)
def test_a_trained_file_whose_header_cannot_be_used(tmp_path, changes, message):
    header = checkpoint.Header("deeplabv3_mobilenet_v2", Categories.of("cat"), 520, (0.5,) * 3, (0.2,) * 3, {})
    text = json.dumps(json.loads(header.to_json()) | changes)
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(1)}, path, {"segcore": text})
    with pytest.raises(WeightsError, match=message) as raised:
        checkpoint.read_header(path)
    assert "Error" not in str(raised.value)


def test_weights_too_large_for_float16_are_written_as_they_are(tmp_path):
    path = tmp_path / "model.safetensors"
    header = checkpoint.Header("deeplabv3_mobilenet_v2", Categories.of("cat"), 520, (0.5,) * 3, (0.2,) * 3, {})
    written = {"small": torch.tensor([0.5]), "large": torch.tensor([65_504.0, 70_000.0])}
    checkpoint.write(path, header, written)
    read = load_file(path)
    assert all(torch.equal(read[name].float(), values) for name, values in written.items())
    checkpoint.write(path, header, {"small": written["small"]})
    assert load_file(path)["small"].dtype == torch.float16


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_weights_that_are_no_numbers_are_not_written(tmp_path, value):
    header = checkpoint.Header("deeplabv3_mobilenet_v2", Categories.of("cat"), 520, (0.5,) * 3, (0.2,) * 3, {})
    with pytest.raises(WeightsError, match=r"classifier\.1\.weight .* lower learning rate"):
        checkpoint.write(tmp_path / "m.safetensors", header, {"classifier.1.weight": torch.tensor([1.0, value])})
    assert not list(tmp_path.iterdir())
