import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segcore import models
from segcore.networks import EfficientNetLite0, SamePad, deeplabv3_mobilenet_v2

ROOT = Path(__file__).parents[1]


def test_same_pad_puts_the_odd_row_at_the_bottom_right():
    ones = torch.ones(1, 1, 4, 5)
    padded = SamePad(kernel=3, stride=2)(ones)
    # 4 rows, kernel 3, stride 2: two outputs read 5 rows, so one is missing; 5 columns: three outputs read 7.
    assert padded.shape == (1, 1, 5, 7)
    assert torch.equal(padded[0, 0, :4, 1:6], ones[0, 0])
    assert padded.sum() == 20


@pytest.mark.parametrize("size", [(1, 1), (16, 17), (33, 64), (97, 131)])
def test_backbone_has_stride_16(size):
    features = EfficientNetLite0().eval()(torch.zeros(1, 3, *size))["out"]
    assert features.shape == (1, 320, -(-size[0] // 16), -(-size[1] // 16))


def test_network_gives_logits_at_the_size_of_its_input():
    network = deeplabv3_mobilenet_v2(num_classes=5).eval()
    assert network(torch.zeros(1, 3, 40, 64))["out"].shape == (1, 5, 40, 64)


@pytest.mark.parametrize("size", [(520, 520), (97, 131), (520, 693)])
def test_backbone_equals_timm(size):
    timm = pytest.importorskip("timm")
    reference = timm.create_model("tf_efficientnet_lite0", features_only=True, output_stride=16, pretrained=False)
    backbone = models.load("deeplabv3_mobilenet_v2").backbone
    reference.load_state_dict(backbone.state_dict())
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = reference.eval()(image)[-1]
        torch.testing.assert_close(backbone(image)["out"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_head_equals_torchvisions(training):
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    network = models.load("deeplabv3_mobilenet_v2").train(training)
    reference = DeepLabV3(EfficientNetLite0(), DeepLabHead(320, 21, (6, 12, 18))).train(training)
    reference.load_state_dict(network.state_dict())
    image = torch.randn(2, 3, 97, 131, generator=torch.Generator().manual_seed(0))
    outputs = []
    for each in (network, reference):
        torch.manual_seed(0)  # the head drops out while it trains
        with torch.no_grad():
            outputs.append(each(image)["out"])
    assert torch.equal(*outputs)


def test_the_shipped_model_runs_without_torchvision():
    code = """
import sys
import numpy as np
from segcore import Segmenter
Segmenter("deeplabv3_mobilenet_v2")(np.zeros((8, 8, 3), np.uint8)).labels
assert "torch" in sys.modules and "torchvision" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_weights_that_lack_a_layer_are_refused():
    state = deeplabv3_mobilenet_v2().state_dict()
    del state["backbone.blocks.3.1.bn2.weight"]
    with pytest.raises(RuntimeError, match=r"blocks\.3\.1\.bn2\.weight"):
        deeplabv3_mobilenet_v2().load_state_dict(state)
