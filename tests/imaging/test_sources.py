"""Photographs come from paths, bytes, open files, PIL images and arrays, and always give the same array."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from segcore.errors import ImageError
from segcore.imaging import reading
from tests.helpers.encoded_pictures import BLUE, GREEN, PATTERN, RED, encoded, photograph


def test_every_kind_of_source_gives_the_same_array(tmp_path):
    path = tmp_path / "pattern.png"
    Image.fromarray(PATTERN).save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path), Image.fromarray(PATTERN), PATTERN):
        rgb = reading.read(source)
        assert rgb.dtype == np.uint8 and rgb.flags.c_contiguous and rgb.flags.writeable
        assert np.array_equal(rgb, PATTERN)


def test_array_sources():
    grey = np.array([[0, 7, 255]], np.uint8)
    assert np.array_equal(reading.read(grey), np.stack([grey] * 3, -1))
    assert np.array_equal(reading.read(grey[..., None]), np.stack([grey] * 3, -1))
    assert reading.read(np.array([[False, True]]))[0].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert reading.read(np.array([[0, 128, 129, 65535]], np.uint16))[0, :, 0].tolist() == [0, 0, 1, 255]
    assert reading.read(np.array([[[255, 0, 0, 128]]], np.uint8)).tolist() == [[[255, 127, 127]]]
    assert np.array_equal(reading.read(PATTERN[::-1, ::-1]), PATTERN[::-1, ::-1])


def test_array_source_is_copied():
    source = PATTERN.copy()
    reading.read(source)[:] = 0
    assert np.array_equal(source, PATTERN)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 3), np.float32), "scale it to 0..255"),
        (np.zeros((2, 2, 3), np.int64), "int64"),
        (np.zeros((2, 2, 2), np.uint8), r"\(2, 2, 2\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), r"\(1, 2, 2, 3\)"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
    ],
)
def test_array_sources_errors(array, message):
    with pytest.raises(ImageError, match=message):
        reading.read(array)


def test_other_sources_errors():
    for source in (None, 7, [1, 2], open):
        with pytest.raises(ImageError, match="path, bytes, an open file, a PIL image or a NumPy array"):
            reading.read(source)


def test_pil_source_is_neither_changed_nor_closed(tmp_path):
    path = tmp_path / "turned.gif"
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, GREEN, BLUE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with Image.open(path) as source:
        before = (source.mode, source.size, source.tell())
        reading.read(source)
        assert (source.mode, source.size, source.tell()) == before
        source.seek(1)  # still open
    turned = Image.fromarray(PATTERN)
    turned.getexif()[274] = 6
    reading.read(turned)
    assert turned.size == (3, 2) and turned.getexif()[274] == 6


@pytest.mark.parametrize("height", [5, 16])
def test_a_tiff_of_smaller_jpegs_shows_nothing_of_the_memory_beside_them(height):
    whole = encoded(Image.fromarray(photograph(height, 9)), "TIFF", compression="jpeg")
    assert reading.read(whole).shape == (height, 9, 3)
    wider = whole.replace(struct.pack("<HHII", 256, 3, 1, 9), struct.pack("<HHII", 256, 3, 1, 16))
    assert wider != whole
    with pytest.raises(ImageError, match="is damaged"):
        reading.read(wider)
