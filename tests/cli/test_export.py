"""`segcore export`: the ONNX file gives PyTorch's labels, and says what a program needs to run it."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segcore import Segmenter
from segcore.categories import VOC
from segcore.inference import onnx_export
from segcore.models import loading
from segcore.models.transforms import Preprocess
from tests.cli.outputs import SHIPPED, names

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnx, onnxruntime and onnxscript: segcore[onnx]")
pytest.importorskip("onnxscript", reason="needs onnx, onnxruntime and onnxscript: segcore[onnx]")
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory, examples_coco):
    """The shipped model as an ONNX file of opset 20, and the share of pixels on which it agreed when it was written."""
    file = tmp_path_factory.mktemp("exported") / "model.onnx"
    return file, onnx_export.export(SHIPPED, file, sorted((examples_coco / "samples").glob("*.jpg"))[:1], opset=20)


def test_twenty_photographs_of_three_sizes_get_pytorchs_labels(exported, examples_coco):
    session = onnxruntime.InferenceSession(exported[0], providers=["CPUExecutionProvider"])
    network = loading.load(SHIPPED)
    samples = [np.asarray(Image.open(each).convert("RGB")) for each in (examples_coco / "samples").glob("*.jpg")]
    photographs = [*samples, *(each[:, ::-1] for each in samples)][:20]
    for number, photograph in enumerate(photographs):
        before = (Preprocess(size=128), Preprocess(size=97, resize="aspect"), Preprocess(size=80))[number % 3]
        tensor = before(np.ascontiguousarray(photograph))
        (logits,) = session.run(None, {"image": tensor.numpy()})
        expected = network(tensor)["out"].argmax(1).numpy()
        assert logits.shape[-2:] == tensor.shape[-2:]
        assert np.mean(logits.argmax(1) == expected) >= 0.999
    assert number == 19 and exported[1] >= 0.999


def test_a_batch_is_its_images_one_by_one(exported):
    session = onnxruntime.InferenceSession(exported[0], providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(0).standard_normal((3, 3, 80, 112), np.float32)
    (together,) = session.run(None, {"image": batch})
    alone = [session.run(None, {"image": each[None]})[0][0] for each in batch]
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_the_file_says_what_it_is(exported):
    session = onnxruntime.InferenceSession(exported[0], providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["segcore"])
    assert about["categories"] == list(VOC.names) and about["model"] == SHIPPED
    assert about["weights_sha256"] == loading.weights_sha256(SHIPPED)
    before = loading.preprocess_for(SHIPPED)
    assert about["preprocess"]["size"] == before.size and tuple(about["preprocess"]["mean"]) == before.mean
    onnx = pytest.importorskip("onnx")
    assert {each.version for each in onnx.load(exported[0]).opset_import if not each.domain} == {about["opset"]} == {20}


def test_the_lines_in_the_documentation_run_the_file(exported, examples_coco, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n([^`]*onnxruntime[^`]*)```", text)
    photograph = next((examples_coco / "samples").glob("*.jpg"))
    (tmp_path / "photo.jpg").write_bytes(photograph.read_bytes())
    (tmp_path / "model.onnx").write_bytes(exported[0].read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    labels = np.asarray(Image.open(tmp_path / "labels.png"))
    ours = Segmenter(SHIPPED, device="cpu", precision="float32")(photograph).labels
    assert labels.shape == ours.shape and np.mean(labels == ours) > 0.98  # they resize labels, we resize logits


def test_a_file_that_differs_is_not_kept(run, exported, tmp_path, monkeypatch):
    program = SimpleNamespace(
        model=SimpleNamespace(metadata_props={}), save=lambda file, **_: shutil.copy(exported[0], file)
    )
    monkeypatch.setattr(onnx_export, "exported", lambda *_: program)
    monkeypatch.setattr(onnx_export, "agreement", lambda *_: 0.9)
    done = run("export", "--model", SHIPPED, "--to", tmp_path / "model.onnx")
    assert done.status == 1 and "only 90.00% of the pixels" in done.err and names(tmp_path) == []


def test_agreement_notices_another_network(exported, photographs):
    tensor = loading.preprocess_for(SHIPPED)(np.asarray(Image.open(photographs / "cat.jpg")))
    same = onnx_export.agreement(exported[0], lambda each: loading.load(SHIPPED)(each)["out"], [tensor])
    other = onnx_export.agreement(exported[0], lambda each: -loading.load(SHIPPED)(each)["out"], [tensor])
    assert same >= 0.999 and other < 0.5


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--to", "model.pt"), "ends with .onnx, got 'model.pt'"),
        (("--to", "."), "is a folder"),
        (("--to", "model.onnx", "--opset", "17"), "an opset from 18 to 23, got 17"),
        (("--to", "model.onnx", "--model", "nothing"), "there is no model 'nothing'"),
        ((), "--to"),
    ],
)
def test_export_errors(run, tmp_path, monkeypatch, arguments, problem):
    monkeypatch.chdir(tmp_path)
    done = run("export", *arguments)
    assert done.status == 2 and problem in done.err and names(tmp_path) == []


def test_missing_packages_are_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "PACKAGES", ("onnx", "no_such_package"))
    done = run("export", "--model", SHIPPED, "--to", tmp_path / "model.onnx")
    assert done.status == 2 and "pip install no_such_package" in done.err
