"""Images of results: overlay, map of errors, palette image of labels, cut-out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..classes import BACKGROUND, IGNORE_INDEX, NUM_CLASSES, SCREEN_PALETTE, VOC_PALETTE
from ..errors import ImageError, LabelError, UsageError


class ErrorKind(NamedTuple):
    """One kind of pixel in the map of errors: its value, its name, and its colour "#rrggbb", None if not painted."""

    number: int
    name: str
    color: str | None


# Okabe and Ito's colours and a dark grey: colour-blind people can tell them apart.
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
    """Paint the classes over the photograph. Returns a new array, uint8 (H, W, 3).

    image: uint8 (H, W, 3). labels: uint8 (H, W); 0 (background) and 255 (ignored) are not painted.
    palette: uint8 (256, 3). alpha: 0..1, rounded to a multiple of 1/256; a painted pixel becomes
    (1 - alpha) photograph + alpha colour, rounded half up.
    outline: draw the inner edge of every region in a lighter or darker shade of its colour, so that regions can be
    told apart without seeing colours. The edge is made of the painted pixels at most t - 1 rows and columns away
    from a pixel that has a different label beside, above or below it, where t = max(1, round(longer side / 600)).

    Raises ImageError and LabelError for arrays of a wrong type or of different sizes, UsageError for an `alpha`
    outside 0..1.
    """
    check_image(image)
    check_labels(labels, "the label map", image.shape[:2])
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
    """Return a contrasting shade of each colour: dark colours are mixed with white, light colours with black."""
    luminance = palette @ np.array([0.2126, 0.7152, 0.0722])
    partner = np.where(luminance < 128, 255.0, 0.0)[:, None]
    return np.rint(0.35 * palette + 0.65 * partner).astype(np.uint8)


def _edges(labels: np.ndarray, rows: slice, thickness: int) -> np.ndarray:
    """Return bool (len(rows), W): the pixels along borders between labels, the background's included."""
    top = max(0, rows.start - thickness)  # borders this far outside the stripe still affect it
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
    """Return a mask that is True wherever `mask` is True at most `reach` rows above or below."""
    grown = np.copy(mask)  # keeps the memory layout, unlike mask.copy(); transposed masks come here too
    for step in range(1, reach + 1):
        grown[step:] |= mask[:-step]
        grown[:-step] |= mask[step:]
    return grown


def errors_map(truth: np.ndarray, prediction: np.ndarray, num_classes: int = NUM_CLASSES) -> np.ndarray:
    """Return the map of errors: uint8 (H, W) of ErrorKind numbers.

    truth: uint8 (H, W) of classes, 255 for ignored pixels. prediction: uint8 (H, W) of classes.
    Binary masks (0 and 1) never have the kind "wrong class".

    Raises LabelError for other values and for different sizes.
    """
    check_labels(truth, "the truth")
    check_labels(prediction, "the prediction", truth.shape)
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
    """Return the ErrorKind number of each pair [truth, prediction], uint8 (256, 256); _INVALID for no class."""
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
    """Count the pixels of each kind in a map of errors. Returns the counts by the kind's name.

    Raises LabelError for an array that is not a map of errors.
    """
    check_labels(kinds, "the map of errors")
    counts = pixels_per_label(kinds)
    if counts[len(ERROR_KINDS) :].any():
        raise LabelError(f"expected kinds 0..{len(ERROR_KINDS) - 1}, got {kinds.max()}; give what errors_map returned")
    return {kind.name: int(counts[kind.number]) for kind in ERROR_KINDS}


def labels_image(labels: np.ndarray, palette: np.ndarray = VOC_PALETTE) -> Image.Image:
    """Return a label map as a PIL palette image, whose pixel values are the class ids.

    labels: uint8 (H, W); palette: uint8 (256, 3). Raises LabelError for an array of another type or shape.
    """
    check_labels(labels, "the label map")
    picture = Image.fromarray(labels)
    picture.putpalette(palette.tobytes())
    return picture


def cutout(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cut the mask out of the photograph: uint8 (H, W, 4), transparent outside the mask.

    Transparent pixels are black, so that the removed content cannot be recovered.
    image: uint8 (H, W, 3); mask: bool (H, W).

    Raises ImageError and LabelError for arrays of a wrong type or of different sizes.
    """
    check_image(image)
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise LabelError(f"expected a bool mask of shape {image.shape[:2]}, got {mask.dtype} {mask.shape}")
    result = np.zeros((*mask.shape, 4), np.uint8)
    np.multiply(image, mask[..., None], out=result[..., :3])
    result[..., 3] = mask.view(np.uint8) * np.uint8(255)
    return result


def _stripes(height: int, width: int) -> Iterator[slice]:
    """Yield bands of rows, so that temporary arrays are much smaller than a large photograph."""
    rows = max(1, _STRIPE_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def pixels_per_label(labels: np.ndarray) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for rows in _stripes(*labels.shape):
        counts += np.bincount(labels[rows].ravel(), minlength=256)
    return counts


def check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"expected a photograph as uint8 (H, W, 3), got {image.dtype} {image.shape}")


def check_labels(labels: np.ndarray, what: str, size_hw: tuple[int, int] | None = None) -> None:
    if labels.dtype != np.uint8 or labels.ndim != 2 or labels.size == 0:
        raise LabelError(f"expected {what} as uint8 (H, W), got {labels.dtype} {labels.shape}")
    if size_hw is not None and labels.shape != size_hw:
        raise LabelError(f"expected {what} of size {size_hw}, got {labels.shape}; resize one to the other")
