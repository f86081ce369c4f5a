"""Overlays, maps of errors, label images, cut-outs, legends and figures show what the arrays say."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from segcore.classes import SCREEN_PALETTE, VOC_PALETTE
from segcore.errors import ImageError, LabelError, UsageError
from segcore.imaging import drawing
from tests.helpers.label_maps import PHOTOGRAPH, RNG, patches

# ---- overlay


def test_overlay_by_hand():
    image = np.array([[(100, 0, 255)] * 3], np.uint8)
    labels = np.array([[0, 1, 255]], np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    palette[1] = (201, 50, 0)
    drawn = drawing.overlay(image, labels, alpha=0.5, palette=palette, outline=False)
    assert drawn.tolist() == [[[100, 0, 255], [151, 25, 128], [100, 0, 255]]]  # 150.5 and 127.5 are rounded up


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1 / 3, 0.9, 1.0])
def test_overlay_blends(alpha):
    labels = patches()
    drawn = drawing.overlay(PHOTOGRAPH, labels, alpha=alpha, outline=False)
    painted = (labels > 0) & (labels < 255)
    wanted = (1 - alpha) * PHOTOGRAPH + alpha * SCREEN_PALETTE[labels].astype(float)
    assert np.abs(drawn[painted] - wanted[painted]).max() <= 1
    assert np.array_equal(drawn[~painted], PHOTOGRAPH[~painted])
    if alpha == 0:
        assert np.array_equal(drawn, PHOTOGRAPH)
    if alpha == 1:
        assert np.array_equal(drawn[painted], SCREEN_PALETTE[labels][painted])


def outlined(labels: np.ndarray, thickness: int) -> np.ndarray:
    """The definition in `overlay`'s docstring, pixel by pixel."""
    height, width = labels.shape
    touches = np.zeros(labels.shape, bool)
    for y, x in itertools.product(range(height), range(width)):
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                touches[y, x] |= labels[y + dy, x + dx] != labels[y, x]
    drawn = np.zeros(labels.shape, bool)
    reach = thickness - 1
    for y, x in np.argwhere(touches):
        drawn[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = True
    return drawn & (labels > 0) & (labels < 255)


@pytest.mark.parametrize(("per_long_side", "thickness"), [(600, 1), (50, 1), (25, 2), (12, 4)])
@pytest.mark.parametrize("stripe_pixels", [250_000, 350, 1])
def test_overlay_outline(monkeypatch, per_long_side, thickness, stripe_pixels):
    monkeypatch.setattr(drawing, "_OUTLINE_PER_LONG_SIDE", per_long_side)
    monkeypatch.setattr(drawing, "_STRIPE_PIXELS", stripe_pixels)
    labels = patches()
    gray = np.full((40, 50, 3), 128, np.uint8)
    changed = (drawing.overlay(gray, labels, alpha=0) != gray).any(-1)
    assert np.array_equal(changed, outlined(labels, thickness))


def test_overlay_outline_follows_the_picture_size():
    for width, thickness in ((300, 1), (1200, 2), (1600, 3)):
        labels = np.zeros((20, width), np.uint8)
        labels[:, 100:200] = 7
        gray = np.full((20, width, 3), 128, np.uint8)
        changed = (drawing.overlay(gray, labels, alpha=0) != gray).any(-1)
        assert changed.sum(1).tolist() == [2 * thickness] * 20


def test_overlay_outline_is_light_on_dark_colors_and_dark_on_light_ones():
    labels = np.zeros((3, 6), np.uint8)
    labels[:, 2:] = np.arange(1, 3).repeat(2)
    palette = np.zeros((256, 3), np.uint8)
    palette[1], palette[2] = (0, 0, 100), (255, 255, 100)
    drawn = drawing.overlay(np.zeros((3, 6, 3), np.uint8), labels, alpha=1, palette=palette)
    assert drawn[1].tolist()[2:] == [[166, 166, 201], [166, 166, 201], [89, 89, 35], [255, 255, 100]]


def test_overlay_leaves_its_arguments_alone():
    image, labels = PHOTOGRAPH.copy(), patches()
    drawn = drawing.overlay(image, labels)
    drawn[:] = 0
    assert np.array_equal(image, PHOTOGRAPH) and np.array_equal(labels, patches())
    image.flags.writeable = labels.flags.writeable = False
    assert drawing.overlay(np.asfortranarray(image), labels).flags.c_contiguous


def test_overlay_errors():
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="alpha from 0"):
            drawing.overlay(PHOTOGRAPH, patches(), alpha=alpha)
    with pytest.raises(LabelError, match=r"size \(40, 50\), got \(50, 40\)"):
        drawing.overlay(PHOTOGRAPH, patches().T)
    with pytest.raises(LabelError, match="int64"):
        drawing.overlay(PHOTOGRAPH, patches().astype(np.int64))
    with pytest.raises(ImageError, match="uint8"):
        drawing.overlay(PHOTOGRAPH / 255, patches())
    with pytest.raises(ImageError, match=r"\(40, 50\)"):
        drawing.overlay(PHOTOGRAPH[..., 0], patches())


# ---- map of errors


def test_errors_map_by_hand():
    truth = np.array([[0, 0, 15], [15, 15, 255], [1, 255, 255]], np.uint8)
    prediction = np.array([[0, 8, 15], [0, 20, 0], [1, 3, 0]], np.uint8)
    kinds = drawing.errors_map(truth, prediction)
    assert kinds.dtype == np.uint8
    assert [[drawing.ERROR_KINDS[kind].name for kind in row] for row in kinds] == [
        ["true background", "extra", "correct"],
        ["missed", "wrong class", "ignored"],
        ["correct", "ignored", "ignored"],
    ]
    assert drawing.count_errors(kinds) == {
        "true background": 1,
        "correct": 2,
        "missed": 1,
        "extra": 1,
        "wrong class": 1,
        "ignored": 3,
    }


def test_errors_map_of_binary_masks():
    truth = np.array([[0, 0, 1, 1, 255]], np.uint8)
    prediction = np.array([[0, 1, 0, 1, 1]], np.uint8)
    counts = drawing.count_errors(drawing.errors_map(truth, prediction))
    assert list(counts.values()) == [1, 1, 1, 1, 0, 1]


@pytest.mark.parametrize("stripe_pixels", [250_000, 170])
def test_errors_map_adds_up(monkeypatch, stripe_pixels):
    monkeypatch.setattr(drawing, "_STRIPE_PIXELS", stripe_pixels)
    truth = RNG.integers(0, 22, (60, 80)).astype(np.uint8)
    truth[truth == 21] = 255
    prediction = RNG.integers(0, 21, (60, 80)).astype(np.uint8)
    counts = drawing.count_errors(drawing.errors_map(truth, prediction))
    assert sum(counts.values()) == 60 * 80
    counted, object_there, object_called = truth != 255, truth > 0, prediction > 0
    assert counts == {
        "true background": (counted & ~object_there & ~object_called).sum(),
        "correct": (counted & object_there & (truth == prediction)).sum(),
        "missed": (counted & object_there & ~object_called).sum(),
        "extra": (counted & ~object_there & object_called).sum(),
        "wrong class": (counted & object_there & object_called & (truth != prediction)).sum(),
        "ignored": (~counted).sum(),
    }


@pytest.mark.parametrize(("truth", "prediction"), [(21, 0), (254, 3), (0, 21), (0, 255), (255, 255), (255, 21)])
def test_errors_map_values_errors(truth, prediction):
    with pytest.raises(LabelError, match=f"got a pixel with {truth} in the truth and {prediction} in the pred"):
        drawing.errors_map(np.array([[0, truth]], np.uint8), np.array([[0, prediction]], np.uint8))


def test_errors_map_errors():
    with pytest.raises(LabelError, match=r"the prediction of size \(40, 50\), got \(40, 49\)"):
        drawing.errors_map(patches(), patches()[:, 1:])
    with pytest.raises(LabelError, match="the truth as uint8"):
        drawing.errors_map(patches().astype(np.int32), patches())
    with pytest.raises(LabelError, match="got 6; give what errors_map returned"):
        drawing.count_errors(np.array([[6]], np.uint8))


def test_error_kinds_and_palette_agree():
    for number, kind in enumerate(drawing.ERROR_KINDS):
        assert kind.number == number
        if kind.color:
            assert "#" + bytes(drawing.ERROR_PALETTE[number]).hex() == kind.color
    assert [kind.name for kind in drawing.ERROR_KINDS if not kind.color] == ["true background"]


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
COLOR_VISION = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def oklab(linear_rgb: np.ndarray) -> np.ndarray:
    cones = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    lab = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.cbrt(np.clip(linear_rgb, 0, 1) @ np.transpose(cones)) @ np.transpose(lab)


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_error_colors_are_told_apart(vision):
    srgb = drawing.ERROR_PALETTE[1 : len(drawing.ERROR_KINDS)] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = oklab(linear @ np.transpose(COLOR_VISION[vision]))
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.1


# ---- label image and cut-out


@pytest.mark.parametrize(
    "labels", [patches(), np.arange(256, dtype=np.uint8).reshape(16, 16), np.zeros((1, 1), np.uint8)]
)
def test_labels_image_keeps_ids(labels):
    buffer = io.BytesIO()
    drawing.labels_image(labels).save(buffer, "PNG", optimize=True)
    reopened = Image.open(buffer)
    assert reopened.mode == "P"
    assert np.array_equal(np.asarray(reopened), labels)
    assert np.array_equal(np.asarray(reopened.convert("RGB")), VOC_PALETTE[labels])


def test_labels_image_with_another_palette():
    picture = drawing.labels_image(patches(), SCREEN_PALETTE).convert("RGB")
    assert np.array_equal(np.asarray(picture), SCREEN_PALETTE[patches()])


def test_labels_image_errors():
    with pytest.raises(LabelError, match="bool"):
        drawing.labels_image(patches() > 0)


def test_cutout():
    mask = patches() == 15
    cut = drawing.cutout(PHOTOGRAPH, mask)
    assert cut.dtype == np.uint8 and cut.shape == (40, 50, 4)
    assert np.array_equal(cut[mask], np.c_[PHOTOGRAPH[mask], np.full(mask.sum(), 255)])
    assert not cut[~mask].any()  # nothing of the photograph is left under the transparency
    assert np.array_equal(drawing.cutout(PHOTOGRAPH, mask[:, ::-1])[..., 3] > 0, mask[:, ::-1])


def test_cutout_errors():
    with pytest.raises(LabelError, match="expected a bool mask of shape"):
        drawing.cutout(PHOTOGRAPH, patches())
    with pytest.raises(LabelError, match=r"\(39, 50\)"):
        drawing.cutout(PHOTOGRAPH, np.ones((39, 50), bool))
