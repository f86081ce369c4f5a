"""Converts a mask to outlines along pixel edges, and to polygons that reproduce exactly that mask when filled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import LabelError

Ring = np.ndarray  # float64 (n, 2): x, y of each corner, in pixels from the upper left corner of the picture


def rings(mask: np.ndarray) -> list[Ring]:
    """Return the closed outlines of a bool mask (H, W), each float64 (n, 2) of x, y, the first corner not repeated.

    Corners lie between pixels: the pixel in column 2 and row 5 is the square from (2, 5) to (3, 6). On the screen,
    outer outlines run clockwise and outlines of holes counter-clockwise, so both the even-odd and the non-zero fill
    rule give the mask. Pixels that share only a corner are not connected. Raises LabelError for another type of array.
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
    """Return the corners of all outlines, int64 (n, 2) of x, y, and two lists of partners.

    An edge joins each corner to a partner in its row and to one in its column. In a row of corners, the first is joined
    to the second, the third to the fourth, and so on; the same holds in a column. A place where two pixels share only a
    corner is a corner of two outlines and is listed twice.
    """
    padded = np.pad(mask, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = upper_left ^ upper_right ^ lower_left ^ lower_right
    falling = upper_left & lower_right & ~upper_right & ~lower_left  # two pixels that share only a corner
    rising = upper_right & lower_left & ~upper_left & ~lower_right
    times = odd + 2 * (falling | rising).astype(np.int64)
    y, x = np.nonzero(times)
    counts = times[y, x]
    first = np.repeat(np.cumsum(counts) - counts, counts)
    second = (np.arange(counts.sum()) != first).astype(np.int64)  # the second of two corners at the same place
    # If the pixel between the edge from the left and the edge from above is set, both edges end at the same corner.
    is_rising = np.repeat(rising[y, x], counts)
    x, y = np.repeat(x, counts), np.repeat(y, counts)
    by_row = np.lexsort((second, x, y))
    by_column = np.lexsort((np.where(is_rising, 1 - second, second), y, x))
    return np.stack([x, y], axis=1), _partners(by_row), _partners(by_column)


def _partners(order: np.ndarray) -> list[int]:
    """Return the partner of each corner. `order` lists the corners so that partners are neighbours."""
    partners = np.empty_like(order)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    return partners.tolist()


def _directed(ring: np.ndarray, mask: np.ndarray) -> Ring:
    """Return the ring in the direction that has the mask on its right-hand side: clockwise, except around a hole."""
    (x0, y0), (x1, _) = ring[0], ring[1]  # the first edge is horizontal
    below = y0 < mask.shape[0] and mask[y0, min(x0, x1)]
    rightwards = x1 > x0
    return (ring if rightwards == below else ring[::-1]).astype(np.float64)


def area(ring: Ring) -> float:
    """Return the area inside a ring, in pixels: positive for an outer outline, negative for a hole."""
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def polygons(mask: np.ndarray) -> list[Ring]:
    """Return outlines without holes that together fill exactly the mask, for formats without holes such as COCO's.

    A region with a hole is cut vertically through the middle of the hole. Raises the errors of `rings`.
    """
    return list(_without_holes(mask, 0))


def _without_holes(mask: np.ndarray, left: int) -> Iterator[Ring]:
    """Yield the polygons of a part of a mask. The part begins at column `left` of the full mask."""
    outlines = rings(mask)
    holes = [ring for ring in outlines if area(ring) < 0]
    if not holes:
        yield from (ring + (left, 0) for ring in outlines)
        return
    widest = max(holes, key=lambda ring: -area(ring))
    middle = int(widest[:, 0].min() + widest[:, 0].max()) // 2  # the mask is on both sides of it
    yield from _without_holes(mask[:, :middle], left)
    yield from _without_holes(mask[:, middle:], left + middle)
