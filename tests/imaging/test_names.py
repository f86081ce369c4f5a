"""The names of classes, written onto a picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segcore.errors import LabelError
from segcore.imaging.names import can_draw, draw_names

PERSON, DOG, SPECK = 15, 12, 5
GREY = 120


def written(labels: np.ndarray, names: dict[int, str]) -> np.ndarray:
    """Where names were written on a grey picture: bool (H, W)."""
    picture = Image.fromarray(np.full((*labels.shape, 3), GREY, np.uint8))
    draw_names(picture, labels, names)
    return (np.asarray(picture) != GREY).any(-1)


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The first and last row, and the first and last column, where a mask is True."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return rows[0], rows[-1], columns[0], columns[-1]


def test_a_name_lies_amid_its_area():
    labels = np.zeros((300, 400), np.uint8)
    labels[100:201, 200:401] = DOG
    top, bottom, left, right = box(written(labels, {DOG: "dog", PERSON: "person"}))
    assert 100 <= top < bottom <= 200 and 200 <= left < right <= 399
    assert (top + bottom) / 2 == pytest.approx(150, abs=3)


def test_only_labels_that_are_there_and_have_a_name_get_one():
    labels = np.full((300, 400), DOG, np.uint8)
    assert not written(labels, {PERSON: "person"}).any() and not written(labels, {}).any()
    assert not written(labels, {DOG: "狗"}).any() and not can_draw("狗")
    assert can_draw("Stühle, éléphant, niño")


def test_the_name_of_a_speck_lies_above_it_and_beside_no_other_name():
    labels = np.full((900, 1200), DOG, np.uint8)
    labels[451, 601] = SPECK
    top, bottom, left, right = box(written(labels, {SPECK: "bottle"}))
    assert bottom <= 451 and left < 601 < right
    both = written(labels, {SPECK: "bottle", DOG: "dog"})
    dog = written(labels, {DOG: "dog"})
    assert both.sum() == pytest.approx(dog.sum() + written(labels, {SPECK: "bottle"}).sum(), abs=2)


@pytest.mark.parametrize("corner", [(0, 0), (299, 0), (0, 399), (299, 399)])
def test_a_name_stays_inside_the_picture(corner):
    labels = np.zeros((300, 400), np.uint8)
    labels[corner] = SPECK
    amid = np.zeros((300, 400), np.uint8)
    amid[150, 200] = SPECK
    whole = written(amid, {SPECK: "potted plant"}).sum()
    assert written(labels, {SPECK: "potted plant"}).sum() == pytest.approx(whole, rel=0.05)


def test_a_picture_smaller_than_its_name_gets_a_part_of_it():
    assert written(np.full((5, 8), DOG, np.uint8), {DOG: "dog"}).any()


def test_names_do_not_fit_a_label_map_of_another_size():
    with pytest.raises(LabelError, match="size"):
        draw_names(Image.new("RGB", (8, 5)), np.zeros((8, 5), np.uint8), {})
