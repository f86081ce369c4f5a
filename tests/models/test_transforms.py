"""Preprocessing gives the very tensors of torchvision's own transforms, and keeps thin pictures in bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.segmentation import DeepLabV3_ResNet101_Weights
from torchvision.transforms import functional as F
from torchvision.transforms import v2

from segcore.errors import ImageError, UsageError
from segcore.models.transforms import IMAGENET_MEAN, IMAGENET_STD, MAX_TENSOR_PIXELS, Preprocess

PUBLISHED = DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1.transforms()
SIZES = [
    (480, 640),
    (640, 480),
    (427, 640),
    (333, 500),
    (520, 520),
    (519, 521),
    (1, 1),
    (3, 2),
    (37, 41),
    (900, 700),
]
SIZES += [(612, 613), (200, 1200), (1201, 203), (521, 1041)]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_torchvision_resize_is_the_published_weights_own(height, width):
    photograph = noise(height, width)
    tensor = Preprocess(resize="torchvision")(photograph)
    expected = PUBLISHED(Image.fromarray(photograph))
    assert torch.equal(tensor, expected[None])
    assert tensor.dtype == torch.float32 and tensor.is_contiguous()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_squeeze_is_torchvisions_resize_to_a_square(height, width):
    photograph = noise(height, width)
    resized = F.resize(Image.fromarray(photograph), [520, 520])
    assert np.array_equal(Preprocess().resize_image(photograph), np.asarray(resized))
    expected = F.normalize(F.to_tensor(resized), IMAGENET_MEAN, IMAGENET_STD)
    assert torch.equal(Preprocess()(photograph), expected[None])


@pytest.mark.parametrize(("height", "width"), [*SIZES, (100, 8000), (8000, 100), (150, 601), (10, 400)])
def test_aspect_is_torchvisions_resize_with_max_size(height, width):
    photograph = noise(height, width)
    expected = np.asarray(F.resize(Image.fromarray(photograph), [520], max_size=2080))
    resized = Preprocess(resize="aspect").resize_image(photograph)
    assert np.array_equal(resized, expected)
    assert max(resized.shape) <= 2080


def test_sizes_are_rounded_as_torchvision_does():
    preset = {
        "torchvision": v2.Resize(520),
        "aspect": v2.Resize(520, max_size=2080),
    }
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 5000, (500, 2)).tolist():
        if max(height, width) > 40 * min(height, width):
            continue
        for resize, oracle in preset.items():
            blank = torch.empty((1, height, width), dtype=torch.uint8, device="meta")
            expected = v2.functional.resize(blank, oracle.size, max_size=oracle.max_size).shape[-2:]
            assert Preprocess(resize=resize).size_hw(height, width) == tuple(expected), (height, width)


def test_sizes_by_hand():
    assert Preprocess(resize="squeeze").size_hw(480, 640) == (520, 520)
    assert Preprocess(resize="aspect").size_hw(480, 640) == (520, 693)  # 693.33
    assert Preprocess(resize="aspect").size_hw(640, 480) == (693, 520)
    assert Preprocess(resize="aspect").size_hw(100, 8000) == (26, 2080)
    assert Preprocess(resize="aspect", max_size=None).size_hw(100, 1000) == (520, 5200)
    assert Preprocess(resize="aspect", size=10, max_size=11).size_hw(10, 12) == (9, 11)
    assert Preprocess(resize="fit").size_hw(480, 640) == (390, 520)
    assert Preprocess(resize="fit").size_hw(1000, 100) == (520, 52)
    assert Preprocess(resize="fit").size_hw(1, 50_000) == (1, 520)
    assert Preprocess(resize="squeeze", size=65).size_hw(1, 9) == (65, 65)


def test_the_thinnest_picture_keeps_a_pixel():
    assert Preprocess(resize="aspect").size_hw(1, 50_000) == (1, 2080)
    assert Preprocess(resize="aspect").size_hw(50_000, 1) == (2080, 1)
    assert Preprocess(resize="aspect")(noise(1, 50_000)).shape == (1, 3, 1, 2080)
    assert Preprocess()(noise(9000, 1)).shape == (1, 3, 520, 520)


def test_too_thin_a_picture_errors():
    longest = MAX_TENSOR_PIXELS // 520
    assert Preprocess(resize="torchvision").size_hw(520, longest) == (520, longest)
    for preprocess in (Preprocess(resize="torchvision"), Preprocess(resize="aspect", max_size=None)):
        with pytest.raises(ImageError, match="60000 x 1 is too thin .* use 'squeeze', or 'aspect' with a max_size"):
            preprocess.size_hw(1, 60_000)
        with pytest.raises(ImageError, match="too thin"):
            preprocess(np.zeros((60_000, 1, 3), np.uint8))


def test_values_by_hand():
    preprocess = Preprocess(size=1, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    tensor = preprocess(np.full((4, 4, 3), (255, 0, 51), np.uint8))
    assert tensor.flatten().tolist() == pytest.approx([1.0, -1.0, 0.2])


def test_photograph_is_left_as_it_was():
    photograph = noise(520, 520)
    before = photograph.copy()
    resized = Preprocess().resize_image(photograph)
    Preprocess()(photograph)
    resized[:] = 0
    assert np.array_equal(photograph, before)


def test_settings_errors():
    with pytest.raises(UsageError, match="'crop'; choose one of: squeeze, aspect, fit, torchvision"):
        Preprocess(resize="crop")
    with pytest.raises(UsageError, match="greater than the size 520, got 520"):
        Preprocess(resize="aspect", max_size=520)
    for size in (0, 4001):
        with pytest.raises(UsageError, match=f"from 1 to 4,000 pixels, got {size}"):
            Preprocess(size=size)
    for unfit in ({"mean": (0.5, 0.5)}, {"std": (1.0, 1.0, 0.0)}, {"std": (1.0, 1.0, math.nan)}):
        with pytest.raises(UsageError, match="3 channels"):
            Preprocess(**unfit)
    for endless in ({"mean": (10**3000,) * 4}, {"size": 10**3000}):  # as a damaged model's file may say
        with pytest.raises(UsageError, match=r"^.{,400}$"):
            Preprocess(**endless)


def test_image_errors():
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8)):
        with pytest.raises(ImageError, match="expected a uint8 array"):
            Preprocess()(wrong)
    with pytest.raises(ImageError, match="at least 1 x 1"):
        Preprocess()(np.zeros((0, 4, 3), np.uint8))
