"""Fast gradients of depthwise convolutions against PyTorch's own."""

from __future__ import annotations

import copy

import pytest
import torch

from segcore.models import loading
from segcore.training.depthwise import quicken

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 2), (5, 1), (5, 2), (3, 4), (3, 12)])
def test_quick_gradients_are_pytorchs_own(kernel, dilation, bias):
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(6, 6, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation, groups=6, bias=bias)
    quick = copy.deepcopy(plain)
    quicken(quick)
    assert type(quick) is not type(plain)
    gradients = []
    for conv in (plain, quick):
        x = torch.linspace(-1, 1, 2 * 6 * 9 * 7).view(2, 6, 9, 7).requires_grad_()
        conv(x).square().sum().backward()
        gradients.append((x.grad, *(each.grad for each in conv.parameters())))
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


def test_only_what_it_is_for_is_quickened():
    network = loading.load("deeplabv3_mobilenet_v2")
    before = {name: type(module) for name, module in network.named_modules()}
    quicken(network)
    changed = {name for name, module in network.named_modules() if type(module) is not before[name]}
    assert all(network.get_submodule(name).groups > 1 for name in changed)
    assert {"backbone.blocks.2.depthwise", "classifier.dilated.1.0", "classifier.decode.0.0"} <= changed
    assert "backbone.blocks.3.depthwise" not in changed  # it halves the map


def test_quickened_networks_give_the_same_logits_and_gradients():
    plain = loading.load("deeplabv3_mobilenet_v2")
    quick, gradients = copy.deepcopy(plain), []
    quicken(quick)
    image = torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(0))
    for network in (plain, quick):
        logits = network(image)["out"]
        logits.logsumexp(1).mean().backward()
        gradients.append([logits, *(each.grad for each in network.parameters())])
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)
