"""The converter of Google's 8-bit network: the same labels as TensorFlow Lite's own, and a sentence for other files."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from segcore import Segmenter
from segcore.models import catalogue, checkpoint, loading
from segcore.models.architectures import DeepLabV3Plus, HalvingConv
from segcore.models.transforms import Preprocess
from segcore.training import start_weights

SHARED = Path(__file__).parents[3] / "shared" / "data"
FILE = SHARED / "reference" / "deeplabv3_mnv2_pascal_quant.tflite"
PHOTOGRAPHS = SHARED / "voc" / "JPEGImages"


@pytest.fixture(scope="module")
def file() -> Path:
    pytest.importorskip("tflite")
    if not FILE.is_file():
        pytest.skip(f"needs Google's network in {FILE}")
    return FILE


@pytest.fixture(scope="module")
def converted(file, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("converted") / "start.safetensors"
    assert start_weights.main([str(file), "--to", str(path)]) == 0
    return path


def as_tensorflow_has_it(network: DeepLabV3Plus) -> DeepLabV3Plus:
    """The same weights at 513 x 513: no padding of the photograph, TensorFlow's for odd sides, logits at stride 16."""
    network.backbone.padded_to = network.classifier.factor = 1
    for module in network.modules():
        if isinstance(module, HalvingConv):
            module.late, module.padding = False, (1, 1)
    return network


@pytest.mark.slow
def test_labels_are_those_of_tensorflow_lite(file):
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    if not PHOTOGRAPHS.is_dir():
        pytest.skip(f"needs photographs in {PHOTOGRAPHS}")
    network = as_tensorflow_has_it(start_weights.start_network(file))
    theirs = interpreters.Interpreter(str(file))
    theirs.allocate_tensors()
    (given,), (answered,) = theirs.get_input_details(), theirs.get_output_details()
    preprocess, agreement = Preprocess(size=513), []
    for path in sorted(PHOTOGRAPHS.glob("*.jpg"))[:10]:
        image = np.asarray(Image.open(path).convert("RGB"))
        theirs.set_tensor(given["index"], preprocess.resize_image(image)[None])
        theirs.invoke()
        with torch.no_grad():
            features = network.backbone(preprocess(image))
            logits = network.classifier(features | {"low": features["low"][..., :33, :33]})  # what it says counts not
        labels = F.interpolate(logits, (513, 513), mode="bilinear", align_corners=True).argmax(1)[0]
        agreement.append((labels.numpy() == theirs.get_tensor(answered["index"])[0]).mean())
    assert len(agreement) == 10
    assert np.mean(agreement) >= 0.99


@pytest.mark.slow
def test_the_file_is_a_model_like_any_other(converted, file):
    segmenter = Segmenter(converted, precision="float32")
    assert segmenter.preprocess == loading.preprocess_for(catalogue.SHIPPED)
    provenance = checkpoint.read_header(converted).provenance
    assert provenance["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert segmenter(np.zeros((40, 50, 3), np.uint8)).labels.shape == (40, 50)


def test_it_gives_the_same_bytes_again_and_leaves_random_numbers_alone(converted, file, tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    assert start_weights.main([str(file), "--to", str(tmp_path / "again")]) == 0
    assert torch.equal(torch.rand(3), expected)
    assert (tmp_path / "again").read_bytes() == converted.read_bytes()


def complaint(capsys, *arguments) -> str:
    """What the command says on stderr where it fails: one line."""
    assert start_weights.main(list(map(str, arguments))) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("content", [b"", b"no network at all"])
def test_another_file_errors(content, tmp_path, capsys):
    pytest.importorskip("tflite")
    path, out = tmp_path / "other.tflite", tmp_path / "out"
    path.write_bytes(content)
    assert "other.tflite is no TensorFlow Lite file" in complaint(capsys, path, "--to", out)
    assert not out.exists()


@pytest.mark.parametrize("kept", [8, 5_000, 1_000_000, -40_000])
def test_a_truncated_file_errors(kept, file, tmp_path, capsys):
    path, out = tmp_path / "cut.tflite", tmp_path / "out"
    path.write_bytes(file.read_bytes()[:kept])
    assert "cut.tflite is damaged" in complaint(capsys, path, "--to", out)
    assert not out.exists()


def test_files_that_cannot_be_read_or_written_error(file, tmp_path, capsys):
    assert "none.tflite" in complaint(capsys, tmp_path / "none.tflite", "--to", tmp_path / "out")
    assert str(tmp_path / "none") in complaint(capsys, file, "--to", tmp_path / "none" / "out")


def test_another_network_errors(file, monkeypatch, capsys, tmp_path):
    convolutions = start_weights.dequantised(file)
    monkeypatch.setattr(start_weights, "dequantised", lambda _: convolutions[:-1])
    assert "holds 54 convolutions, and this network has 55" in complaint(capsys, file, "--to", tmp_path / "out")
    weight, bias = convolutions[3]
    monkeypatch.setattr(
        start_weights, "dequantised", lambda _: [*convolutions[:3], (weight[:-1], bias), *convolutions[4:]]
    )
    assert "convolution 3 of" in complaint(capsys, file, "--to", tmp_path / "out")


@pytest.mark.slow
def test_the_missing_package_is_named(tmp_path):
    (tmp_path / "any.tflite").write_bytes(b"\x10\0\0\0TFL3")
    program = (
        "import sys; sys.modules['tflite'] = None; from segcore.training.start_weights import main;"
        f"sys.exit(main([{str(tmp_path / 'any.tflite')!r}, '--to', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install tflite") and "Traceback" not in done.stderr
