"""Outlines of masks: worked out by hand, and filled again by pycocotools and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from segcore.errors import LabelError
from segcore.imaging.outlines import area, polygons, rings

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def mask_of(*rows):
    return np.array([[each == "#" for each in row] for row in rows])


def as_points(ring):
    """The corners, from the uppermost of the leftmost on."""
    points = [tuple(map(int, each)) for each in ring]
    first = points.index(min(points))
    return points[first:] + points[:first]


def filled(outlines, shape):
    """By COCO's own tools."""
    if not outlines:
        return np.zeros(shape, bool)
    encoded = coco_mask.frPyObjects([ring.ravel().tolist() for ring in outlines], *shape)
    return coco_mask.decode(coco_mask.merge(encoded)).astype(bool)


def even_odd(outlines, shape):
    """Each pixel by the edges that a ray from its middle to the left crosses."""
    result = np.zeros(shape, bool)
    for ring in outlines:
        for (x, y0), (other, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if x == other:
                result[int(min(y0, y1)) : int(max(y0, y1)), int(x) :] ^= True
    return result


def test_one_pixel():
    (ring,) = rings(mask_of("...", "..#"))
    assert as_points(ring) == [(2, 1), (3, 1), (3, 2), (2, 2)]
    assert ring.dtype == np.float64 and area(ring) == 1


def test_a_hole_runs_the_other_way_round():
    mask = mask_of("####", "#..#", "####")
    outer, hole = sorted(rings(mask), key=area, reverse=True)
    assert as_points(outer) == [(0, 0), (4, 0), (4, 3), (0, 3)] and area(outer) == 12
    assert as_points(hole) == [(1, 1), (1, 2), (3, 2), (3, 1)] and area(hole) == -2


@pytest.mark.parametrize("mask", [mask_of("#.", ".#"), mask_of(".#", "#.")])
def test_pixels_that_touch_in_a_corner_are_apart(mask):
    assert [area(ring) for ring in rings(mask)] == [1, 1]


def test_nothing_has_no_outline():
    assert rings(np.zeros((3, 4), bool)) == polygons(np.zeros((3, 4), bool)) == []


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_outlines_fill_to_the_mask(mask):
    outlines = rings(mask)
    np.testing.assert_array_equal(even_odd(outlines, mask.shape), mask)
    assert sum(map(area, outlines)) == mask.sum()


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_polygons_without_holes_fill_to_the_mask(mask):
    outlines = polygons(mask)
    assert all(area(ring) > 0 and len(ring) >= 4 for ring in outlines)
    np.testing.assert_array_equal(filled(outlines, mask.shape), mask)


def test_a_large_ring_of_a_drawn_picture():
    picture = Image.new("1", (640, 480))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 30, 600, 450), fill=1)
    draw.ellipse((200, 100, 300, 300), fill=0)
    draw.ellipse((350, 100, 500, 350), fill=0)
    draw.ellipse((380, 150, 420, 200), fill=1)
    mask = np.asarray(picture)
    np.testing.assert_array_equal(filled(polygons(mask), mask.shape), mask)
    assert len(rings(mask)) == 4


@pytest.mark.parametrize("mask", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2), bool)])
def test_rings_errors(mask):
    with pytest.raises(LabelError, match="bool mask"):
        rings(mask)
