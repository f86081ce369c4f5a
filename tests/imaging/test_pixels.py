"""Pixels of every depth, colour space and transparency become 8-bit RGB."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from segcore.imaging import reading
from tests.helpers.encoded_pictures import BLUE, GREEN, RED, encoded, photograph, png


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_jpeg_color_spaces(mode):
    data = encoded(Image.fromarray(photograph()).convert(mode), "JPEG", quality=98)
    assert np.abs(reading.read(data).astype(int) - photograph()).max() <= 8


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_few_bits(mode):
    picture = Image.fromarray(photograph()).convert(mode)
    assert np.array_equal(reading.read(encoded(picture, "PNG")), np.asarray(picture.convert("RGB")))


# ---- more than 8 bits


RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(file_format):
    rgb = reading.read(encoded(Image.fromarray(RAMP), file_format))
    assert np.array_equal(rgb, np.rint(RAMP / 257).astype(np.uint8)[..., None].repeat(3, -1))


def test_16_bit_color_png():
    rgb = reading.read(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 65535, 32768, 0)))
    assert rgb.tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),  # 8 bits
        ([0, 257, 65535], [0, 1, 255]),  # 16 bits
        ([-100, 0, 100], [0, 128, 255]),  # neither: smallest to largest
        ([0, 1_000_000, 2_000_000], [0, 128, 255]),
    ],
)
def test_32_bit_integers(values, expected):
    data = encoded(Image.fromarray(np.array([values], np.int32)), "TIFF")
    assert reading.read(data)[0, :, 0].tolist() == expected


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.2, 1], [0, 51, 255]),
        ([0.2, 0.4, 0.2], [51, 102, 51]),  # within 0..1 nothing is stretched
        ([-1, 0.0, 4], [0, 51, 255]),
        ([np.nan, 0.0, 10], [0, 0, 255]),
        ([np.inf, -np.inf, 1], [255, 0, 255]),
        ([7, 7, 7], [0, 0, 0]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
    ],
)
def test_floats(values, expected):
    data = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert reading.read(data)[0, :, 0].tolist() == expected


@pytest.mark.filterwarnings("error")
def test_a_float_that_signals_is_no_number():
    signalling = np.array([[0x7FA00000, 0x3F800000]], np.uint32).view(np.float32)
    assert reading.read(encoded(Image.fromarray(signalling), "TIFF"))[0, :, 0].tolist() == [0, 255]


# ---- transparency


def test_transparency_over_white(tmp_path):
    half_red = Image.new("RGBA", (1, 1), (255, 0, 0, 128))
    assert reading.read(half_red).tolist() == [[[255, 127, 127]]]
    assert reading.read(encoded(half_red, "PNG")).tolist() == [[[255, 127, 127]]]
    assert reading.read(Image.new("RGBA", (1, 1), (50, 0, 0, 100))).tolist() == [[[175, 155, 155]]]  # 174.6
    assert reading.read(Image.new("RGBA", (1, 1), (1, 2, 3, 0))).tolist() == [[[255, 255, 255]]]
    assert reading.read(Image.new("RGBA", (1, 1), (1, 2, 3, 255))).tolist() == [[[1, 2, 3]]]
    assert reading.read(Image.new("LA", (1, 1), (0, 51))).tolist() == [[[204, 204, 204]]]
    assert reading.read(Image.new("LA", (1, 1), (0, 51)).convert("La")).tolist() == [[[204, 204, 204]]]
    assert reading.read(half_red.convert("RGBa")).tolist() == [[[255, 127, 127]]]


def test_transparent_palette():
    picture = Image.new("P", (3, 1))
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.putdata([0, 1, 2])
    one = encoded(picture, "PNG", transparency=1)
    assert reading.read(one).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    each = encoded(picture, "PNG", transparency=bytes([255, 128, 0]))
    assert reading.read(each).tolist() == [[[255, 0, 0], [127, 255, 127], [255, 255, 255]]]
    gif = encoded(picture, "GIF", transparency=2)
    assert reading.read(gif).tolist() == [[[255, 0, 0], [0, 255, 0], [255, 255, 255]]]


def test_transparent_color():
    grey = png(2, 1, 8, 0, b"\0\x05\x06", transparent=struct.pack(">H", 5))
    assert reading.read(grey)[0, :, 0].tolist() == [255, 6]
    deep = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 1000, 2570), transparent=struct.pack(">H", 1000))
    assert reading.read(deep)[0, :, 0].tolist() == [255, 10]
    color = png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", transparent=struct.pack(">3H", 1, 2, 3))
    assert reading.read(color).tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_arrays_of_either_byte_order_are_the_same_picture():
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    expected = reading.read(values)
    np.testing.assert_array_equal(reading.read(values.astype(">u2")), expected)
    np.testing.assert_array_equal(reading.read(values.astype("<u2")), expected)
