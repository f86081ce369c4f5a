"""Pictures of results: overlay, map of errors, label image, cut-out, legend and the report's side-by-side
figure."""

from __future__ import annotations

import io
import math
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..classes import BACKGROUND, FRIENDLY_NAMES, IGNORE_INDEX, NUM_CLASSES, SCREEN_PALETTE, VOC_PALETTE
from ..errors import ImageError, LabelError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ErrorKind(NamedTuple):
    """What the map of errors says of a pixel: its value there, its name, "#rrggbb" or None if unpainted."""

    number: int
    name: str
    color: str | None


# Okabe and Ito's colours and a dark grey, which colour-blind people tell apart.
TRUE_BACKGROUND = ErrorKind(0, "true background", None)
CORRECT = ErrorKind(1, "correct", "#009e73")  # an object, and the right one
MISSED = ErrorKind(2, "missed", "#d55e00")  # an object called background
EXTRA = ErrorKind(3, "extra", "#56b4e9")  # background called an object
WRONG_CLASS = ErrorKind(4, "wrong class", "#f0e442")  # an object called another
IGNORED = ErrorKind(5, "ignored", "#505050")  # the truth is IGNORE_INDEX: not counted
ERROR_KINDS = (TRUE_BACKGROUND, CORRECT, MISSED, EXTRA, WRONG_CLASS, IGNORED)  # by number

ERROR_PALETTE = np.zeros((256, 3), np.uint8)  # uint8 (256, 3) by ErrorKind.number, for `overlay`
for _kind in ERROR_KINDS:
    ERROR_PALETTE[_kind.number] = tuple(bytes.fromhex((_kind.color or "#000000")[1:]))

_STRIPE_PIXELS = 250_000
_OUTLINE_PER_LONG_SIDE = 600
_INVALID = 255


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float = 0.5,
    palette: np.ndarray = SCREEN_PALETTE,
    outline: bool = True,
) -> np.ndarray:
    """The photograph with its classes painted over it: uint8 (H, W, 3), a new array.

    image: uint8 (H, W, 3); labels: uint8 (H, W), of which 0 (background) and 255 (ignored) stay unpainted;
    palette: uint8 (256, 3). `alpha` is taken to the nearest 256th: a painted pixel becomes
    (1 - alpha) photograph + alpha colour, rounded half up.

    `outline` draws the inner edge of every region in a light or dark shade of its colour, so that regions can
    be told apart without telling colours apart: the painted pixels no more than t - 1 rows and columns away
    from one that has another label left, right, above or below, where t = max(1, round(longer side / 600)).

    Raises ImageError and LabelError for arrays of another kind or of different sizes, UsageError for an
    `alpha` outside 0..1.
    """
    _check_image(image)
    _check_labels(labels, "the label map", image.shape[:2])
    if not 0 <= alpha <= 1:
        raise UsageError(f"expected an alpha from 0 (not seen) to 1 (opaque), got {alpha}")
    opacity = round(alpha * 256)
    painted = np.ones(256, bool)
    painted[[BACKGROUND, IGNORE_INDEX]] = False
    keep = np.where(painted, 256 - opacity, 256).astype(np.uint16)  # per label, in 256ths
    tint = (painted[:, None] * palette.astype(np.uint16) * opacity).astype(np.uint16)
    line = _line_colors(palette)
    thickness = max(1, round(max(labels.shape) / _OUTLINE_PER_LONG_SIDE))

    result = np.empty_like(image, order="C")
    for rows in _stripes(*labels.shape):
        stripe = labels[rows]
        # np.take is four times as fast as indexing here.
        kept = image[rows] * np.take(keep, stripe)[..., None]
        result[rows] = (kept + np.take(tint, stripe, axis=0) + 128) >> 8
        if outline:
            edge = _edges(labels, rows, thickness) & painted[stripe]
            result[rows][edge] = line[stripe[edge]]
    return result


def _line_colors(palette: np.ndarray) -> np.ndarray:
    """A shade of each colour that stands out from it: towards white if it is dark, towards black if light."""
    luminance = palette @ np.array([0.2126, 0.7152, 0.0722])
    partner = np.where(luminance < 128, 255.0, 0.0)[:, None]
    return np.rint(0.35 * palette + 0.65 * partner).astype(np.uint8)


def _edges(labels: np.ndarray, rows: slice, thickness: int) -> np.ndarray:
    """bool (len(rows), W): where `overlay` may draw its outline, background included."""
    top = max(0, rows.start - thickness)  # rows outside the stripe reach that far into it
    block = labels[top : rows.stop + thickness]
    edges = np.zeros(block.shape, bool)
    below, beside = block[1:] != block[:-1], block[:, 1:] != block[:, :-1]
    edges[1:] |= below
    edges[:-1] |= below
    edges[:, 1:] |= beside
    edges[:, :-1] |= beside
    if edges.any():
        edges = _grown(_grown(edges, thickness - 1).T, thickness - 1).T
    return edges[rows.start - top : rows.stop - top]


def _grown(mask: np.ndarray, reach: int) -> np.ndarray:
    """True where the mask is within `reach` rows above or below."""
    grown = np.copy(mask)  # in the same memory layout, unlike mask.copy(): transposed masks come here too
    for step in range(1, reach + 1):
        grown[step:] |= mask[:-step]
        grown[:-step] |= mask[step:]
    return grown


def errors_map(truth: np.ndarray, prediction: np.ndarray, num_classes: int = NUM_CLASSES) -> np.ndarray:
    """What is right and wrong at each pixel: uint8 (H, W) of ErrorKind's numbers.

    truth: uint8 (H, W) of classes, or 255 for pixels that are not counted; prediction: uint8 (H, W) of classes.
    Of binary masks (0 and 1) no pixel is of a wrong class.

    Raises LabelError for anything else and for different sizes.
    """
    _check_labels(truth, "the truth")
    _check_labels(prediction, "the prediction", truth.shape)
    kinds, kind_of_pair = np.empty(truth.shape, np.uint8), _kind_of_pair(num_classes)
    for rows in _stripes(*truth.shape):
        kinds[rows] = kind_of_pair[truth[rows], prediction[rows]]
        invalid = kinds[rows] == _INVALID
        if invalid.any():
            raise LabelError(
                f"expected classes 0..{num_classes - 1}, in the truth also {IGNORE_INDEX}; got a pixel with "
                f"{truth[rows][invalid][0]} in the truth and {prediction[rows][invalid][0]} in the prediction"
            )
    return kinds


@lru_cache(maxsize=8)
def _kind_of_pair(num_classes: int) -> np.ndarray:
    """Numbers of ErrorKind by [truth, prediction]: uint8 (256, 256); _INVALID where either is no class."""
    table = np.full((256, 256), _INVALID, np.uint8)
    classes = table[:num_classes, :num_classes]
    classes[:] = WRONG_CLASS.number
    classes[:, BACKGROUND] = MISSED.number
    classes[BACKGROUND, :] = EXTRA.number
    np.fill_diagonal(classes, CORRECT.number)
    classes[BACKGROUND, BACKGROUND] = TRUE_BACKGROUND.number
    table[IGNORE_INDEX, :num_classes] = IGNORED.number
    return table


def count_errors(kinds: np.ndarray) -> dict[str, int]:
    """Pixels of each kind in an `errors_map` by ErrorKind's names: they add up to the picture.

    Raises LabelError for an array that is no map of errors.
    """
    _check_labels(kinds, "the map of errors")
    counts = _pixels_per_label(kinds)
    if counts[len(ERROR_KINDS) :].any():
        raise LabelError(f"expected kinds 0..{len(ERROR_KINDS) - 1}, got {kinds.max()}; give what errors_map returned")
    return {kind.name: int(counts[kind.number]) for kind in ERROR_KINDS}


def labels_image(labels: np.ndarray, palette: np.ndarray = VOC_PALETTE) -> Image.Image:
    """A label map as a PIL palette image: each pixel's value is its class id, also once saved as PNG.

    labels: uint8 (H, W); palette: uint8 (256, 3). Raises LabelError for another kind of array.
    """
    _check_labels(labels, "the label map")
    picture = Image.fromarray(labels)
    picture.putpalette(palette.tobytes())
    return picture


def cutout(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photograph's pixels under a mask, all else transparent: uint8 (H, W, 4).

    What is cut away is black under its transparency, so that nobody can bring it back.
    image: uint8 (H, W, 3); mask: bool (H, W).

    Raises ImageError and LabelError for arrays of another kind or of different sizes.
    """
    _check_image(image)
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise LabelError(f"expected a bool mask of shape {image.shape[:2]}, got {mask.dtype} {mask.shape}")
    result = np.zeros((*mask.shape, 4), np.uint8)
    np.multiply(image, mask[..., None], out=result[..., :3])
    result[..., 3] = mask.view(np.uint8) * np.uint8(255)
    return result


def legend_image(entries: Sequence[tuple[str, Sequence[int]]], *, font_size: int = 22) -> Image.Image:
    """Names beside swatches of their colours, one a line, on white: an RGB image.

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


_FIGURE_DPI = 150
_PANEL_PIXELS = 620, 820  # the most that a panel may be wide and high
_SLOT_PIXELS = 260  # the least width of a panel's column, for its heading
_SPACE = 24
_TEXT_LINE = 26
_CHARACTER = 12
_LEGEND_LINE = 34
_SWATCH = 22
matplotlib_lock = threading.Lock()  # Matplotlib shares font caches between figures


def figure(
    image: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    title: str | None = None,
    names: Sequence[str] = FRIENDLY_NAMES,
    scores: Mapping[str, float | None] | None = None,
    palette: np.ndarray = SCREEN_PALETTE,
) -> bytes:
    """The report's figure as PNG: photograph, prediction and truth side by side, with a legend.

    image: uint8 (h, w, 3), shown in the shape of the label maps; prediction, truth: uint8 (H, W), 255 is
    ignored; names, palette: by class; title: a line on where this comes from; scores: numbers by the name
    they are printed with, None or nan as "N/A". The legend has the classes of either label map.

    Raises ImageError and LabelError for arrays of another kind or of different sizes.
    """
    _check_image(image)
    _check_labels(prediction, "the prediction")
    _check_labels(truth, "the truth", prediction.shape)
    legend = _legend_entries(prediction, truth, names, palette)
    width, height = _panel_size(*prediction.shape)
    photograph = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    panels = {
        "Photograph": np.asarray(photograph),
        "Prediction": palette[_resized_labels(prediction, width, height)],
        "Truth": palette[_resized_labels(truth, width, height)],
    }
    printed = [] if not scores else [f"{name} {_printed(value)}" for name, value in scores.items()]
    with matplotlib_lock:
        return _drawn_figure(panels, title, "   ".join(printed), legend)


def _legend_entries(
    prediction: np.ndarray, truth: np.ndarray, names: Sequence[str], palette: np.ndarray
) -> list[tuple[str, tuple[float, ...]]]:
    found = _pixels_per_label(prediction) + _pixels_per_label(truth)
    ids = [number for number in np.flatnonzero(found).tolist() if number != BACKGROUND]
    unnamed = [number for number in ids if number >= len(names) and number != IGNORE_INDEX]
    if unnamed:
        raise LabelError(f"expected classes 0..{len(names) - 1} (one per name), got {unnamed[-1]}")
    return [("ignored" if number == IGNORE_INDEX else names[number], tuple(palette[number] / 255)) for number in ids]


def _panel_size(height: int, width: int) -> tuple[int, int]:
    """Width and height, in pixels, of a panel that shows a (height, width) picture."""
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
        place.picture(left, panels_top, pixels)
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
    """Puts things on a Matplotlib figure by pixels from its top left corner."""

    def __init__(self, drawn: Figure, width: int, height: int) -> None:
        self.drawn, self.width, self.height = drawn, width, height

    def text(self, left: float, top: float, text: str, **style) -> None:
        where = left / self.width, 1 - top / self.height
        self.drawn.text(*where, text, parse_math=False, color="#1a1a1a", **style)

    def picture(self, left: int, top: int, pixels: np.ndarray) -> None:
        axes = self.drawn.add_axes(self._box(left, top, pixels.shape[1], pixels.shape[0]))
        axes.imshow(pixels, aspect="auto", interpolation="nearest")
        axes.set_axis_off()

    def swatch(self, left: int, top: int, color: tuple[float, ...]) -> None:
        axes = self.drawn.add_axes(self._box(left, top, _SWATCH, _SWATCH), facecolor=color)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color="#3c3c3c", linewidth=0.6)

    def _box(self, left: int, top: int, width: int, height: int) -> tuple[float, float, float, float]:
        bottom = self.height - top - height
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def _stripes(height: int, width: int) -> Iterator[slice]:
    """Bands of rows, so that a large photograph needs no temporary arrays of its size."""
    rows = max(1, _STRIPE_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _pixels_per_label(labels: np.ndarray) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for rows in _stripes(*labels.shape):
        counts += np.bincount(labels[rows].ravel(), minlength=256)
    return counts


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"expected a photograph as uint8 (H, W, 3), got {image.dtype} {image.shape}")


def _check_labels(labels: np.ndarray, what: str, size_hw: tuple[int, int] | None = None) -> None:
    if labels.dtype != np.uint8 or labels.ndim != 2 or labels.size == 0:
        raise LabelError(f"expected {what} as uint8 (H, W), got {labels.dtype} {labels.shape}")
    if size_hw is not None and labels.shape != size_hw:
        raise LabelError(f"expected {what} of size {size_hw}, got {labels.shape}; resize one to the other")
