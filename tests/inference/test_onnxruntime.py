"""The engine ONNX Runtime on small networks: what is cached, what is refused, and that nobody is told of it."""

import importlib.util
import os
import re
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from segcore import Segmenter
from segcore.errors import UsageError
from segcore.inference import onnxruntime
from segcore.inference.predictor import Predictor, prepare
from tests.helpers.colours import AS_IT_IS, NAMES, Colours, photograph

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(  # not importorskip: importing ONNX Runtime is what one of the tests watches
        not all(map(importlib.util.find_spec, onnxruntime.PACKAGES)),
        reason="needs onnx, onnxruntime and onnxscript: segcore[onnx]",
    ),
]
OPTIONS = {"categories": NAMES, "transforms": AS_IT_IS, "device": "cpu"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "segcore" / "onnx"


def small(dilation: int = 1) -> nn.Module:
    """A network of torchvision's kind, with the same weights whatever its dilation."""
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.fcn import FCN

    torch.manual_seed(0)
    layers = OrderedDict(
        conv=nn.Conv2d(3, 8, 3, stride=2, padding=dilation, dilation=dilation, bias=False), norm=nn.BatchNorm2d(8)
    )
    return FCN(IntermediateLayerGetter(nn.Sequential(layers), {"norm": "out"}), nn.Conv2d(8, 5, 1)).eval()


def prepared(network: nn.Module) -> Predictor:
    return prepare(network, device="cpu", engine="onnxruntime")


def test_known_networks_are_exported_once(cache, monkeypatch):
    batch = torch.randn(2, 3, 40, 56)
    first, other = prepared(small()), prepared(small(dilation=2))
    assert (first.engine, first.precision) == ("onnxruntime", "float32")
    for run, dilation in ((first, 1), (other, 2)):
        with torch.no_grad():
            torch.testing.assert_close(run(batch), small(dilation).classifier(small(dilation).backbone(batch)["out"]))
    assert len(list(cache.glob("*.onnx"))) == 2
    monkeypatch.setattr(onnxruntime, "exported", None)
    assert torch.equal(prepared(small())(batch), first(batch))
    with pytest.raises(TypeError):
        prepared(small(dilation=3))


def test_networks_of_the_callers_own_are_exported_each_time_and_compared(cache):
    class Wide(Colours):
        def forward(self, x):
            return super().forward(x) * (1 if x.shape[-1] <= x.shape[-2] else -1)  # an exported file keeps one of them

    expected = Segmenter(Colours(), **OPTIONS)(photograph())
    result = Segmenter(Colours(), engine="onnxruntime", **OPTIONS)(photograph())
    assert (result.labels == expected.labels).mean() >= 0.999
    assert result.provenance.engine == "onnxruntime" and not cache.exists()
    with pytest.raises(UsageError, match="ONNX Runtime does not compute this network as .* 128 x 64 .* engine 'torch'"):
        Segmenter(Wide(), engine="onnxruntime", **OPTIONS)


def test_a_network_that_cannot_be_exported_is_refused_in_one_line():
    class Printed(Colours):
        def forward(self, x):
            return super().forward(x) * float(x.mean() > 9).conjugate()  # the values decide, which no file can hold

    assert Segmenter(Printed(), **OPTIONS)
    with pytest.raises(UsageError) as refused:
        Segmenter(Printed(), engine="onnxruntime", **OPTIONS)
    message = str(refused.value)
    assert re.fullmatch(r"ONNX Runtime cannot compute this network: .+; choose the engine 'torch'", message)
    assert "\n" not in message and "report" not in message and "GitHub" not in message


def test_onnxruntime_reports_nothing_to_anybody(tmp_path):
    program = (
        "from segcore import prepare; from tests.inference.test_onnxruntime import small;"
        "prepare(small(), engine='onnxruntime', device='cpu')"
    )
    tell = {"CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY"}  # where these are set, it is quiet by itself
    environment = {name: value for name, value in os.environ.items() if name not in tell and "PYTEST" not in name}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=600, check=True)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["segcore"]
    assert not [path for path in tmp_path.rglob("*") if re.search("microsoft|onnxruntime|deviceid", path.name, re.I)]
