"""The page's lines about a result."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from demo.markup import tables
from segcore.inference.provenance import Provenance

MADE = Provenance("deeplabv3_mobilenet_v2", "ab" * 32, "squeeze", "cpu", "float32", 0.25)


@pytest.mark.parametrize(
    ("engine", "said"), [("torch", ""), ("openvino", " · OpenVINO"), ("onnxruntime", " · ONNX Runtime")]
)
def test_the_provenance_names_any_engine_but_torch(engine, said):
    line = tables.provenance(SimpleNamespace(provenance=replace(MADE, engine=engine), network_runs=1))
    assert f"CPU · float32{said} · squeezed" in line
