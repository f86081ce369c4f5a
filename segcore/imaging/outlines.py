"""The outlines of a mask along the edges of its pixels, and polygons that fill to exactly that mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import LabelError

Ring = np.ndarray  # float64 (n, 2): x, y of each corner, in pixels from the upper left corner of the picture


def rings(mask: np.ndarray) -> list[Ring]:
    """The closed outlines of a bool mask (H, W), each float64 (n, 2) of x, y; the first corner is not repeated.

    Corners lie between pixels: one pixel at column 2 and row 5 is the square from (2, 5) to (3, 6). Seen on the screen,
    outer outlines run clockwise, those of holes the other way round, so that both the even-odd and the non-zero rule
    fill to the mask. Pixels that touch in a corner alone are apart. Raises LabelError for another kind of array.
    """
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise LabelError(f"expected a bool mask (H, W), got {mask.dtype} {mask.shape}")
    corners, along_row, along_column = _corners(mask)
    result, left = [], [True] * len(corners)
    for start in range(len(corners)):
        ring, each = [], start
        while left[each]:
            other = along_row[each]
            left[each] = left[other] = False
            ring += [each, other]
            each = along_column[other]
        if ring:
            result.append(_directed(corners[ring], mask))
    return result


def _corners(mask: np.ndarray) -> tuple[np.ndarray, list[int], list[int]]:
    """Where outlines turn: int64 (n, 2) of x, y, and of each corner the one that it is joined with in its row, and in
    its column.

    In a row of corners, the first and the second are joined, the third and the fourth, and so on; likewise in a column.
    Where pixels touch in a corner alone two outlines turn, and it counts twice.
    """
    padded = np.pad(mask, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = upper_left ^ upper_right ^ lower_left ^ lower_right
    falling = upper_left & lower_right & ~upper_right & ~lower_left  # touch in a corner
    rising = upper_right & lower_left & ~upper_left & ~lower_right
    times = odd + 2 * (falling | rising).astype(np.int64)
    y, x = np.nonzero(times)
    counts = times[y, x]
    first = np.repeat(np.cumsum(counts) - counts, counts)
    second = (np.arange(counts.sum()) != first).astype(np.int64)  # of two corners at one place
    # The one that ends the edge from the left belongs to the edge from above where the pixel between them is set.
    is_rising = np.repeat(rising[y, x], counts)
    x, y = np.repeat(x, counts), np.repeat(y, counts)
    by_row = np.lexsort((second, x, y))
    by_column = np.lexsort((np.where(is_rising, 1 - second, second), y, x))
    return np.stack([x, y], axis=1), _partners(by_row), _partners(by_column)


def _partners(order: np.ndarray) -> list[int]:
    """Of each corner the other one of its pair, where `order` has the pairs side by side."""
    partners = np.empty_like(order)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    return partners.tolist()


def _directed(ring: np.ndarray, mask: np.ndarray) -> Ring:
    """The ring in the direction that has the mask on its right: clockwise around it, and the other way in a hole."""
    (x0, y0), (x1, _) = ring[0], ring[1]  # the first edge lies in a row
    below = y0 < mask.shape[0] and mask[y0, min(x0, x1)]
    rightwards = x1 > x0
    return (ring if rightwards == below else ring[::-1]).astype(np.float64)


def area(ring: Ring) -> float:
    """What a ring encloses, in pixels: above 0 for an outer outline, below it for a hole's."""
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def polygons(mask: np.ndarray) -> list[Ring]:
    """Outlines without holes that together fill to exactly the mask, for formats that know no holes, as COCO's.

    A region with a hole is cut through the middle of the hole, from top to bottom. Raises as `rings` does.
    """
    return list(_without_holes(mask, 0))


def _without_holes(mask: np.ndarray, left: int) -> Iterator[Ring]:
    """The polygons of a part of a mask, which begins at the column `left`."""
    outlines = rings(mask)
    holes = [ring for ring in outlines if area(ring) < 0]
    if not holes:
        yield from (ring + (left, 0) for ring in outlines)
        return
    widest = max(holes, key=lambda ring: -area(ring))
    middle = int(widest[:, 0].min() + widest[:, 0].max()) // 2  # the mask is on both sides of it
    yield from _without_holes(mask[:, :middle], left)
    yield from _without_holes(mask[:, middle:], left + middle)
