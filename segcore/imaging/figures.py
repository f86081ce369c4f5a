"""Images with text: a legend, and a figure of photograph, prediction and truth side by side."""

from __future__ import annotations

import io
import math
import textwrap
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..classes import BACKGROUND, FRIENDLY_NAMES, IGNORE_INDEX, SCREEN_PALETTE
from ..errors import LabelError, UsageError
from .drawing import check_image, check_labels, pixels_per_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIGURE_DPI = 150
_PANEL_PIXELS = 620, 820  # maximum width and height of a panel
_SLOT_PIXELS = 260  # minimum width of a panel's column, so that its heading fits
_SPACE = 24
_TEXT_LINE = 26
_CHARACTER = 12
_LEGEND_LINE = 34
_SWATCH = 22
_OUTLINE = ("black", 3.5), ("white", 1.5)  # colours and line widths in points; it shows on every colour
matplotlib_lock = threading.Lock()  # Matplotlib's font cache is shared and not thread-safe


def legend_image(entries: Sequence[tuple[str, Sequence[int]]], *, font_size: int = 22) -> Image.Image:
    """Draw a legend on white: one line for each name, with a swatch of its colour. Returns an RGB image.

    entries: (name, (red, green, blue) of 0..255). Raises UsageError if there are none.
    """
    if not entries:
        raise UsageError("a legend needs at least one name and colour")
    font = ImageFont.load_default(font_size)
    margin, gap, line_height = font_size * 2 // 3, font_size // 2, font_size * 3 // 2
    text_width = math.ceil(max(font.getlength(name) for name, _ in entries))
    size = (2 * margin + font_size + gap + text_width, 2 * margin + line_height * len(entries))
    picture = Image.new("RGB", size, "white")
    canvas = ImageDraw.Draw(picture)
    for number, (name, color) in enumerate(entries):
        middle = margin + line_height * number + line_height // 2
        left, top = margin, middle - font_size // 2
        swatch = (left, top, left + font_size - 1, top + font_size - 1)
        canvas.rectangle(swatch, fill=tuple(int(channel) for channel in color), outline=(60, 60, 60))
        canvas.text((left + font_size + gap, middle), name, fill=(20, 20, 20), font=font, anchor="lm")
    return picture


def figure(
    image: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    title: str | None = None,
    names: Sequence[str] = FRIENDLY_NAMES,
    scores: Mapping[str, float | None] | None = None,
    palette: np.ndarray = SCREEN_PALETTE,
    outlined: np.ndarray | None = None,
) -> bytes:
    """Draw photograph, prediction and truth side by side, with a legend. Returns the PNG's bytes.

    image: uint8 (h, w, 3), resized to the label maps' aspect ratio. prediction, truth: uint8 (H, W), 255 is
    ignored. names, palette: by class. title: one line about the figure's source. scores: numbers by their printed
    name; None and nan are printed as "N/A". outlined: float (n, 2), the x, y of an outline in pixels of the label maps,
    which is drawn on all three. The legend lists the classes of both label maps.

    Raises ImageError and LabelError for arrays of a wrong type or of different sizes.
    """
    check_image(image)
    check_labels(prediction, "the prediction")
    check_labels(truth, "the truth", prediction.shape)
    legend = _legend_entries(prediction, truth, names, palette)
    width, height = _panel_size(*prediction.shape)
    photograph = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    panels = {
        "Photograph": np.asarray(photograph),
        "Prediction": palette[_resized_labels(prediction, width, height)],
        "Truth": palette[_resized_labels(truth, width, height)],
    }
    printed = [] if not scores else [f"{name} {_printed(value)}" for name, value in scores.items()]
    if outlined is not None:
        outlined = outlined * (width / prediction.shape[1], height / prediction.shape[0])
    with matplotlib_lock:
        return _drawn_figure(panels, title, "   ".join(printed), legend, outlined)


def _legend_entries(
    prediction: np.ndarray, truth: np.ndarray, names: Sequence[str], palette: np.ndarray
) -> list[tuple[str, tuple[float, ...]]]:
    found = pixels_per_label(prediction) + pixels_per_label(truth)
    ids = [number for number in np.flatnonzero(found).tolist() if number != BACKGROUND]
    unnamed = [number for number in ids if number >= len(names) and number != IGNORE_INDEX]
    if unnamed:
        raise LabelError(f"expected classes 0..{len(names) - 1} (one per name), got {unnamed[-1]}")
    return [("ignored" if number == IGNORE_INDEX else names[number], tuple(palette[number] / 255)) for number in ids]


def _panel_size(height: int, width: int) -> tuple[int, int]:
    """Return the width and height, in pixels, of the panel for an image of (height, width)."""
    most_wide, most_high = _PANEL_PIXELS
    scale = min(most_wide / width, most_high / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized_labels(labels: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


def _printed(score: float | None) -> str:
    return "N/A" if score is None or math.isnan(score) else f"{score:.3f}"


def _drawn_figure(
    panels: Mapping[str, np.ndarray],
    title: str | None,
    scores: str,
    legend: Sequence[tuple[str, tuple[float, ...]]],
    outlined: np.ndarray | None,
) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panel_height, panel_width = next(iter(panels.values())).shape[:2]
    slot = max(panel_width, _SLOT_PIXELS)
    width = len(panels) * (slot + _SPACE) + _SPACE
    lines = [line for text in (title, scores) if text for line in textwrap.wrap(text, width // _CHARACTER)]
    longest = max((len(name) for name, _ in legend), default=0)
    column = 2 * _SWATCH + _CHARACTER * (longest + 1)
    columns = max(1, (width - 2 * _SPACE) // column)
    headings_top = _SPACE + _TEXT_LINE * len(lines) + (_SPACE // 2 if lines else 0)
    panels_top = headings_top + _TEXT_LINE + _SPACE // 4
    legend_top = panels_top + panel_height + _SPACE
    height = legend_top + _LEGEND_LINE * max(1, math.ceil(len(legend) / columns)) + _SPACE // 2

    drawn = Figure((width / _FIGURE_DPI, height / _FIGURE_DPI), dpi=_FIGURE_DPI, facecolor="white")
    place = _Placer(drawn, width, height)
    for number, line in enumerate(lines):
        place.text(_SPACE, _SPACE + _TEXT_LINE * number, line, size=9, va="top")
    for number, (heading, pixels) in enumerate(panels.items()):
        left = _SPACE + number * (slot + _SPACE)
        place.text(left, headings_top, heading, size=11, weight="bold", va="top")
        place.picture(left, panels_top, pixels, outlined)
    if not legend:
        place.text(_SPACE, legend_top, "no objects in either", size=9.5, va="top")
    for number, (name, color) in enumerate(legend):
        left, top = _SPACE + number % columns * column, legend_top + number // columns * _LEGEND_LINE
        place.swatch(left, top, color)
        place.text(left + 1.4 * _SWATCH, top + _SWATCH / 2, name, size=9.5, va="center_baseline")
    buffer = io.BytesIO()
    FigureCanvasAgg(drawn).print_png(buffer)
    return buffer.getvalue()


class _Placer:
    """Places text and images on a Matplotlib figure, in pixels from its top left corner."""

    def __init__(self, drawn: Figure, width: int, height: int) -> None:
        self.drawn, self.width, self.height = drawn, width, height

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        where = left / self.width, 1 - top / self.height
        self.drawn.text(*where, text, parse_math=False, color="#1a1a1a", **style)

    def picture(self, left: int, top: int, pixels: np.ndarray, outlined: np.ndarray | None) -> None:
        axes = self.drawn.add_axes(self._box(left, top, pixels.shape[1], pixels.shape[0]))
        axes.imshow(pixels, aspect="auto", interpolation="nearest")
        axes.set_axis_off()
        if outlined is None:
            return
        for color, width in _OUTLINE:
            corners = outlined - 0.5  # imshow has the first pixel's centre at 0
            axes.fill(*corners.T, fill=False, edgecolor=color, linewidth=width, joinstyle="round")

    def swatch(self, left: int, top: int, color: tuple[float, ...]) -> None:
        axes = self.drawn.add_axes(self._box(left, top, _SWATCH, _SWATCH), facecolor=color)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color="#3c3c3c", linewidth=0.6)

    def _box(self, left: int, top: int, width: int, height: int) -> tuple[float, float, float, float]:
        bottom = self.height - top - height
        return left / self.width, bottom / self.height, width / self.width, height / self.height
