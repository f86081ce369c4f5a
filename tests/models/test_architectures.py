import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from segcore.models import loading
from segcore.models.architectures import DeepLabV3Plus, HalvingConv, MobileNetV2, deeplabv3_mobilenet_v2

ROOT = Path(__file__).parents[2]
SIZES = [(1, 1), (16, 17), (33, 64), (97, 131), (260, 347)]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def shipped() -> DeepLabV3Plus:
    return loading.load("deeplabv3_mobilenet_v2")


def as_pytorch_pads(backbone: MobileNetV2) -> MobileNetV2:
    """A copy that pads by 1 on all sides, as PyTorch's networks do, and not the photograph."""
    backbone = copy.deepcopy(backbone)
    backbone.padded_to = 1
    for module in backbone.modules():
        if isinstance(module, HalvingConv):
            module.late, module.padding = False, (1, 1)
    return backbone


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_shapes(size, output_stride):
    network, seen = DeepLabV3Plus(5, output_stride).eval(), []
    network.classifier.register_forward_hook(lambda module, given, logits: seen.extend([*given, logits]))
    assert network(torch.zeros(1, 3, *size))["out"].shape == (1, 5, *size)
    features, logits = seen
    at_4 = tuple(-(-side // 4) for side in size)
    coarse = tuple(-(-side // 16) * 16 // output_stride for side in size)
    assert features["low"].shape == (1, 24, *at_4) and features["out"].shape == (1, 320, *coarse)
    assert logits.shape == (1, 5, *at_4)


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", SIZES)
def test_backbone_equals_timm(size, output_stride):
    timm = pytest.importorskip("timm")
    reference = timm.create_model("mobilenetv2_100", features_only=True, output_stride=output_stride, pretrained=False)
    reference.eval()
    backbone = as_pytorch_pads(loading.load("deeplabv3_mobilenet_v2", output_stride=output_stride).backbone)
    convs = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    others = [module for module in reference.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in reference.modules() if isinstance(module, nn.BatchNorm2d)]
    for conv, other, norm in zip(convs, others, norms, strict=True):
        other.weight.data, norm.bias.data, norm.eps = conv.weight.data, conv.bias.data, 0.0
    image = noise(1, 3, *size)
    with torch.no_grad():
        features, expected = backbone(image), reference(image)
    torch.testing.assert_close(features["out"], expected[-1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features["low"], expected[1], rtol=1e-4, atol=1e-4)


def test_stride_8_has_the_same_parameters_and_a_finer_map():
    coarse, fine = DeepLabV3Plus().eval(), DeepLabV3Plus(output_stride=8).eval()
    fine.load_state_dict(coarse.state_dict())
    with torch.no_grad():
        at_16, at_8 = (each.backbone(noise(1, 3, 97, 131)) for each in (coarse, fine))
    assert at_16["out"].shape[-2:] == (7, 9) and at_8["out"].shape[-2:] == (14, 18)
    torch.testing.assert_close(at_8["low"], at_16["low"])
    assert [branch[0].dilation for branch in fine.classifier.dilated] == [(12, 12), (24, 24), (36, 36)]


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [8, 16])
def test_every_cell_looks_at_its_own_part_of_the_photograph(output_stride):
    """Of a network that only adds up, the gradient shows what a cell sees: it is centred on the cell."""
    backbone = MobileNetV2(output_stride)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.Identity())
    x = torch.zeros(1, 3, 704, 704, requires_grad=True)  # a cell sees 491 pixels
    features = backbone(x)
    for name, stride, nearest in (("low", 4, 1.5), ("out", output_stride, 0.5)):
        row, column = 368 // stride, 336 // stride
        (seen,) = torch.autograd.grad(features[name][0, :, row, column].sum(), x, retain_graph=True)
        seen = seen[0].double().sum(0)
        seen /= seen.sum()
        pixels = torch.arange(704).double()
        for cell, centre in ((row, seen.sum(1) @ pixels), (column, seen.sum(0) @ pixels)):
            assert abs(centre - (cell * stride + (stride - 1) / 2)) <= nearest + 1e-3


def test_logits_move_with_the_photograph(shipped):
    strip = torch.zeros(1, 3, 32, 2048)
    strip[..., 992:1056] = noise(1, 3, 32, 64)
    with torch.no_grad():
        logits, moved = (shipped.classifier(shipped.backbone(each)) for each in (strip, strip.roll(16, -1)))
    middle = slice(200, 312)
    assert (logits[..., middle].amax(-1) - logits[..., middle].amin(-1)).max() > 1  # something is seen there
    torch.testing.assert_close(moved[..., 204:316], logits[..., middle], rtol=1e-3, atol=1e-3)


def test_silenced_additions_change_no_logit():
    network, image = DeepLabV3Plus().eval(), noise(1, 3, 97, 131)
    head = network.classifier

    def logits_before_and_after() -> list[torch.Tensor]:
        both = []
        for _ in range(2):
            with torch.no_grad():
                both.append(network(image)["out"])
            for part in (head.dilated, head.low, head.high, head.decode):
                for values in part.parameters():
                    nn.init.normal_(values, std=0.3)
        return both

    assert not torch.equal(*logits_before_and_after())
    head.silence_additions()
    assert torch.equal(*logits_before_and_after())


def test_silenced_additions_learn_from_the_first_step():
    head = DeepLabV3Plus().classifier
    head.silence_additions()
    head({"low": noise(1, 24, 8, 8), "out": noise(1, 320, 2, 2)}).square().sum().backward()
    assert head.correct.weight.grad.abs().max() > 0 and head.project.weight.grad[:, 512:].abs().max() > 0


def test_number_of_classes():
    assert deeplabv3_mobilenet_v2(5)(torch.zeros(1, 3, 40, 64))["out"].shape == (1, 5, 40, 64)


@pytest.mark.slow
def test_the_shipped_model_runs_without_torchvision():
    code = """
import sys
import numpy as np
from segcore import Segmenter
Segmenter("deeplabv3_mobilenet_v2")(np.zeros((8, 8, 3), np.uint8)).labels
assert "torch" in sys.modules and "torchvision" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
