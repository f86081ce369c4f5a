"""Legends and figures show what the arrays say."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from segcore.classes import FRIENDLY_NAMES, SCREEN_PALETTE
from segcore.errors import ImageError, LabelError, UsageError
from segcore.imaging import figures
from tests.helpers.label_maps import PHOTOGRAPH, patches


def test_legend_image():
    entries = [(FRIENDLY_NAMES[number], SCREEN_PALETTE[number]) for number in (15, 12, 11)]
    legend = np.asarray(figures.legend_image(entries))
    tops = [np.argwhere((legend == color).all(-1))[:, 0].min() for _, color in entries]
    assert tops == sorted(tops)
    for _, color in entries:
        assert (legend == color).all(-1).sum() == 20 * 20  # a swatch of 22 with its edge
    ink = (legend < 100).all(-1)
    assert ink[:, 50:].any() and not ink[:, -8:].any()  # names are written and fit
    assert figures.legend_image(entries[:1]).height < legend.shape[0]


def test_legend_image_errors():
    with pytest.raises(UsageError, match="at least one"):
        figures.legend_image([])


def figure_pixels(*arguments, **options) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figures.figure(*arguments, **options))).convert("RGB"))


def test_figure_shows_photograph_prediction_and_truth():
    image = np.full((31, 31, 3), (1, 200, 100), np.uint8)
    prediction, truth = np.zeros((31, 31), np.uint8), np.zeros((31, 31), np.uint8)
    prediction[:, :10], truth[:, 10:] = 15, 12
    pixels = figure_pixels(image, prediction, truth)

    def box(color) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of a colour among the panels, above the legend."""
        y, x = np.nonzero((pixels[:-70] == color).all(-1))
        return x.min(), y.min(), x.max() + 1, y.max() + 1

    left, top, right, bottom = box((1, 200, 100))
    assert (right - left, bottom - top) == (620, 620)
    pitch = 620 + 24
    assert box(SCREEN_PALETTE[15]) == (left + pitch, top, left + pitch + 200, bottom)
    assert box(SCREEN_PALETTE[12]) == (left + 2 * pitch + 200, top, left + 2 * pitch + 620, bottom)
    legend = pixels[bottom:]
    for number in (12, 15):
        assert 300 < (legend == SCREEN_PALETTE[number]).all(-1).sum() <= 22 * 22
    assert not (legend == SCREEN_PALETTE[1]).all(-1).any()


def test_figure_shows_the_photograph_in_the_shape_of_the_labels():
    red = np.full((100, 50, 3), (255, 0, 0), np.uint8)
    pixels = figure_pixels(red, np.zeros((52, 52), np.uint8), np.zeros((52, 52), np.uint8))
    assert (pixels == (255, 0, 0)).all(-1).sum() == 620 * 620


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (900, 600), (2000, 3000)])
def test_figure_of_any_shape(shape):
    labels = np.ones(shape, np.uint8)
    pixels = figure_pixels(np.zeros((*shape, 3), np.uint8), labels, labels)
    assert 100 < pixels.shape[0] < 1100 and 700 < pixels.shape[1] < 2100


@pytest.mark.slow
def test_figure_text():
    labels = patches()
    plain = figure_pixels(PHOTOGRAPH, labels, labels)
    titled = figure_pixels(PHOTOGRAPH, labels, labels, title="a $broken_{$ file_name.jpg " * 20)
    scored = figure_pixels(PHOTOGRAPH, labels, labels, scores={"mean IoU": 0.5, "F1": None})
    undefined = figure_pixels(PHOTOGRAPH, labels, labels, scores={"mean IoU": 0.5, "F1": float("nan")})
    assert np.array_equal(scored, undefined)
    assert plain.shape[0] < scored.shape[0] < titled.shape[0]
    assert (titled[:, -12:] == 255).all()  # long titles are wrapped, not cut
    named = figure_pixels(PHOTOGRAPH, np.minimum(labels, 1), np.minimum(labels, 1), names=("background", "any object"))
    assert named.shape[0] == plain.shape[0]


@pytest.mark.slow
def test_figure_is_the_same_from_many_threads():
    labels = [np.roll(patches(), shift, 1) for shift in range(4)]
    alone = [figures.figure(PHOTOGRAPH, each, each, title="one") for each in labels]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: figures.figure(PHOTOGRAPH, each, each, title="one"), labels))
    assert together == alone


def test_figure_errors():
    with pytest.raises(LabelError, match="the truth of size"):
        figures.figure(PHOTOGRAPH, patches(), patches()[1:])
    with pytest.raises(LabelError, match="one per name.*got 15"):
        figures.figure(PHOTOGRAPH, patches(), patches(), names=("background", "dog"))
    with pytest.raises(ImageError):
        figures.figure(PHOTOGRAPH[..., :2], patches(), patches())


@pytest.mark.slow
def test_nothing_heavy_is_imported():
    script = (
        "import sys, numpy as np; from segcore.imaging import figures; assert 'matplotlib' not in sys.modules;"
        "figures.figure(np.zeros((4, 4, 3), np.uint8), *[np.zeros((4, 4), np.uint8)] * 2);"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
