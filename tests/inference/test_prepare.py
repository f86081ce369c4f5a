"""Networks as they are run: the same logits as their own forward, on a device and in a precision that fit."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from segcore.errors import UsageError
from segcore.imaging import reading
from segcore.inference import upsampling
from segcore.inference.predictor import Predictor, pick_device, pick_precision, prepare
from segcore.models import loading
from tests.helpers.networks import noise, randomised

SHIPPED = "deeplabv3_mobilenet_v2"
MOBILENET = "deeplabv3_mobilenet_v3_large"


@pytest.fixture(scope="module")
def shipped() -> nn.Module:
    return loading.load(SHIPPED)


def assert_same_logits(network: nn.Module, predictor: Predictor, batch: torch.Tensor) -> None:
    with torch.no_grad():
        expected = network(batch)["out"]
    logits = F.interpolate(predictor(batch), size=batch.shape[-2:], mode="bilinear", align_corners=False)
    assert expected.abs().max() > 0
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.fixture(scope="module")
def resnet101() -> nn.Module:
    return randomised(loading.build_network("deeplabv3_resnet101"))


@pytest.mark.slow
def test_prepared_resnet101_equals_torchvision(resnet101):
    predictor = prepare(resnet101, device="cpu", precision="float32")
    assert_same_logits(resnet101, predictor, noise(1, 3, 129, 129))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_resnet50", MOBILENET, "lraspp_mobilenet_v3_large", SHIPPED])
def test_prepared_networks_equal_their_own_forward(name, shipped):
    if name == SHIPPED:
        network = shipped
    else:
        network = randomised(torchvision.models.get_model(name, weights=None, weights_backbone=None))
    predictor = prepare(network, device="cpu", precision="float32")
    assert_same_logits(network, predictor, noise(2, 3, 97, 130))


@pytest.mark.slow
def test_prepared_logits_are_at_the_networks_own_stride(resnet101, shipped):
    image = noise(1, 3, 65, 96)
    assert prepare(resnet101, device="cpu")(image).shape == (1, 21, 9, 12)
    logits = prepare(shipped, device="cpu")(image)
    assert logits.shape == (1, 21, 17, 24)
    assert (logits.dtype, logits.device.type, logits.is_contiguous()) == (torch.float32, "cpu", True)
    logits += 1  # an ordinary tensor, which may be written to


def test_prepare_leaves_the_network_as_it_was(shipped):
    network = copy.deepcopy(shipped).train()
    before = copy.deepcopy(network.state_dict())
    image = noise(2, 3, 64, 64)
    predictor = prepare(network, device="cpu", precision="float32")
    first = predictor(image)
    assert network.training
    assert all(each.requires_grad for each in network.parameters())
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    network.classifier.classify.weight.data.zero_()
    assert torch.equal(predictor(image), first)
    assert_same_logits(shipped, predictor, image)


def test_prepared_network_may_be_called_from_threads(shipped):
    predictor = prepare(shipped, device="cpu")
    images = [noise(1, 3, 64 + 16 * index, 80) for index in range(8)]
    expected = [predictor(each) for each in images]
    with ThreadPoolExecutor(4) as pool:
        assert all(map(torch.equal, pool.map(predictor, images), expected))


def test_prepare_of_a_forward_that_branches_on_its_input():
    published = randomised(loading.build_network(MOBILENET))

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = published.backbone

        def forward(self, x):
            return self.body(x if x.mean() > -100 else -x)

    network = torchvision.models.segmentation.DeepLabV3(Branching(), published.classifier).eval()
    assert_same_logits(network, prepare(network, device="cpu", precision="float32"), noise(1, 3, 64, 64))


def test_prepare_keeps_a_batch_norm_that_is_not_alone_in_reading_a_convolution():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, bias=False)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, x):
            x = self.conv(x)
            return {"out": x + self.norm(x)}

    network = torchvision.models.segmentation.FCN(Shared(), nn.Conv2d(8, 21, 1))
    randomised(network)
    assert_same_logits(network, prepare(network, device="cpu", precision="float32"), noise(1, 3, 20, 20))


def test_prepare_errors(shipped):
    with pytest.raises(UsageError, match="Linear has no backbone"):
        prepare(nn.Linear(1, 1))
    with pytest.raises(UsageError, match="'float64'.*auto, float32, bfloat16"):
        prepare(shipped, precision="float64")
    features = torchvision.models.segmentation.FCN(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 21, 1))
    with pytest.raises(UsageError, match="dictionary with the key 'out'"):
        prepare(features, device="cpu")(noise(1, 3, 8, 8))


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(3, 64, 64),
        torch.zeros(1, 4, 64, 64),
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
        torch.zeros(0, 3, 64, 64),
        torch.zeros(1, 3, 0, 64),
        np.zeros((1, 3, 64, 64), np.float32),
    ],
)
def test_prepared_network_errors(batch, shipped):
    with pytest.raises(UsageError, match="expected"):
        prepare(shipped, device="cpu")(batch)


@pytest.mark.slow
def test_bfloat16_label_maps_agree_with_float32(shipped, shared_coco):
    exact = prepare(shipped, device="cpu", precision="float32")
    rounded = prepare(shipped, device="cpu", precision="bfloat16")
    preprocess = loading.preprocess_for(SHIPPED, "squeeze")
    paths = sorted((shared_coco / "val2017").glob("*.jpg"))[::11]
    agreement = []
    for path in paths:
        photograph = reading.read(path, upright=False)
        tensor = preprocess(photograph)
        labels = [upsampling.label_map(each(tensor)[0], photograph.shape[:2]) for each in (exact, rounded)]
        agreement.append(np.mean(labels[0] == labels[1]))
    assert paths
    assert np.mean(agreement) >= 0.995


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_pick_device(cuda, mps, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto") == expected
    assert pick_device("cpu") == pick_device("cpu:0") == "cpu"
    if cuda:
        assert pick_device("cuda:1") == "cuda:1"
    else:
        with pytest.raises(UsageError, match="'cuda' is not available"):
            pick_device("cuda")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:2", "cuda:x", "cuda:-1"])
def test_pick_device_errors(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="choose one of: auto, cuda, .*cpu"):
        pick_device(device)


def test_a_cpu_runs_the_images_of_a_batch_one_by_one(shipped):
    """Together they take twice as long there."""
    prepared, sizes = prepare(shipped, device="cpu", precision="float32"), []
    prepared._run.core.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    batch = torch.rand(3, 3, 97, 97)
    together = prepared(batch)
    assert sizes == [1, 1, 1]
    assert torch.equal(together, torch.cat([prepared(image) for image in batch.split(1)]))


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"neon": True, "bf16": True}, "bfloat16"),
        ({"neon": True, "bf16": False}, "float32"),
    ],
)
def test_pick_precision_on_a_cpu(instructions, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert pick_precision("auto", "cpu") == expected
    assert pick_precision("float32", "cpu") == "float32"


def test_pick_precision_of_an_older_pytorch(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_precision("auto", "cpu") == "float32"
    assert pick_precision("bfloat16", "cpu") == "bfloat16"


def test_pick_precision_on_other_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert pick_precision("auto", "cuda:0") == "float32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert pick_precision("auto", "cuda") == "bfloat16"
    assert pick_precision("auto", "mps") == "float32"


def test_pick_precision_errors():
    with pytest.raises(UsageError, match="'half'.*auto, float32, bfloat16"):
        pick_precision("half")
