"""Targets that read pictures: photographs of every accepted kind, and masks."""

from __future__ import annotations

import io
import math
import struct
import tempfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from segcore.classes import IGNORE_INDEX, NUM_CLASSES, VOC_PALETTE
from segcore.imaging import masks, reading
from segcore.inference.task import Task
from segcore.truth import supplied
from segcore.truth.predictions import LabelMaps
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.oracle import Target, attempted

MAX_PIXELS = 4_000_000  # so that a picture whose header lies takes no longer than it must
HEIGHT, WIDTH = 6, 9
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
IDS = np.random.default_rng(1).choice([*range(NUM_CLASSES), IGNORE_INDEX], (HEIGHT, WIDTH)).astype(np.uint8)
PNG = b"\x89PNG\r\n\x1a\n"
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _in_mode(mode: str) -> Image.Image:
    return Image.fromarray(PHOTO).convert("RGB").convert(mode)


def _deep(dtype: type) -> Image.Image:
    return Image.fromarray(PHOTO[..., 0].astype(dtype) * 200)


def _exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[274] = orientation
    return block.tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One of a PNG's parts, with the checksum that it must have."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _interlaced() -> bytes:
    """A grey PNG in seven passes, which Pillow does not write."""
    rows = b""
    for top, left, down, right in _ADAM7:
        for row in PHOTO[top::down, left::right, 0]:
            rows += b"\0" + row.tobytes() if row.size else b""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 1)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@cache
def example_photographs() -> list[bytes]:
    """A small file of every accepted kind."""
    pillow_heif.register_heif_opener()
    rgb, rgba, grey, palette = (_in_mode(mode) for mode in ("RGB", "RGBA", "L", "P"))
    frames = {"save_all": True, "append_images": [rgb.rotate(180)]}
    found = [
        *(_saved(each, "JPEG") for each in (rgb, grey, _in_mode("CMYK"))),
        *(_saved(rgb, "JPEG", exif=_exif(number)) for number in (3, 6, 9)),
        *(_saved(rgb, "JPEG", progressive=True, quality=quality) for quality in (20, 95)),
        _saved(rgb, "MPO", save_all=True, append_images=[rgb.rotate(90)]),
        *(_saved(_in_mode(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *(_saved(palette, "PNG", bits=bits) for bits in (1, 2, 4)),
        *(_saved(palette, "PNG", transparency=each) for each in (3, bytes(range(250)))),
        *(_saved(grey, "PNG", transparency=7), _saved(rgb, "PNG", transparency=(1, 2, 3))),
        *(_saved(_deep(np.uint16), "PNG"), _saved(rgb, "PNG", exif=_exif(5)), _interlaced()),
        *(_saved(rgba, "PNG", **frames), _saved(palette, "GIF", transparency=4), _saved(palette, "GIF", **frames)),
        *(_saved(rgba, "WEBP"), _saved(rgb, "WEBP", lossless=True, exif=_exif(8)), _saved(rgb, "WEBP", **frames)),
        *(_saved(_in_mode(mode), "TIFF") for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr")),
        *(_saved(_deep(dtype), "TIFF") for dtype in (np.uint16, np.int32, np.float32)),
        *(_saved(rgb, "TIFF", compression=each) for each in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
        _saved(_in_mode("1"), "TIFF", compression="group4"),
        _saved(rgb, "TIFF", exif=_exif(6), **frames),
        *(_saved(_in_mode(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")),
        *(_saved(rgb, "HEIF", quality=50), _saved(rgba, "AVIF")),
    ]
    return [each for each in found if each]


@cache
def mask_pictures() -> list[bytes]:
    """A truth saved as PNG in each of the ways that are understood."""
    palette = Image.fromarray(IDS)
    palette.putpalette(VOC_PALETTE.tobytes())
    where = Image.fromarray((IDS > 3) * np.uint8(255))
    colors = Image.fromarray(VOC_PALETTE[IDS])
    alpha = np.dstack([VOC_PALETTE[IDS], (IDS > 0) * np.uint8(255)])
    two = palette.copy()
    two.putdata([number % 2 for number in range(HEIGHT * WIDTH)])
    return [
        *(_saved(each, "PNG") for each in (Image.fromarray(IDS), palette, where, where.convert("1"), colors)),
        *(_saved(each, "PNG") for each in (Image.fromarray(alpha), where.convert("LA"), where.convert("RGB"))),
        *(_saved(two, "PNG", bits=bits) for bits in (1, 2, 4)),
        *(_saved(Image.fromarray(IDS.astype(np.uint16)), "PNG"), _saved(palette, "PNG", transparency=0)),
        *(_saved(colors, "PNG", save_all=True, append_images=[colors]), _saved(where.convert("P"), "PNG")),
    ]


def chunks_of(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A PNG's parts: kind and data."""
    place = len(PNG)
    while place + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        yield kind, png[place + 8 : place + 8 + length]
        place += length + 12


@st.composite
def mutated_pngs(draw: Any) -> bytes:
    """A PNG whose parts are changed, moved, doubled or left out, each with a right checksum, or its pixels."""
    seeds = [each for each in example_photographs() + mask_pictures() if each.startswith(PNG)]
    parts = list(chunks_of(draw(st.sampled_from(seeds))))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(parts) - 1))
        kind, data = parts[place]
        match draw(st.integers(0, 5)):
            case 0:
                parts[place] = kind, draw(mutated_bytes(lambda data=data: [data]))
            case 1 if kind == b"IDAT" and data:
                pixels = draw(mutated_bytes(lambda data=data: [_inflated(data)]))
                parts[place] = kind, zlib.compress(pixels)
            case 2 if len(parts) > 1:
                del parts[place]
            case 3:
                parts.insert(draw(st.integers(0, len(parts))), (kind, data))
            case 4:
                kinds = [b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"iTXt", b"gAMA"]
                parts.insert(place, (draw(st.sampled_from(kinds)), draw(st.binary(max_size=40))))
            case 5 if kind == b"IHDR" and len(data) == 13:
                header = [draw(st.sampled_from([1, 2, 4, 8, 16])), draw(st.integers(0, 7)), 0, 0]
                parts[place] = kind, data[:8] + bytes([*header, draw(st.integers(0, 1))])
    return PNG + b"".join(chunk(*each) for each in parts)


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, 10_000)
    except zlib.error:
        return data


_DIRECTORY_VALUES = st.one_of(st.sampled_from([0, 1, 2, 3, 4, 8, 16, 32, 64, 255, 65535, 2**31, 2**32 - 1]))


@st.composite
def mutated_tiffs(draw: Any) -> bytes:
    """A TIFF some of whose tags say something else: sizes, kinds, offsets, compression."""
    data = bytearray(draw(st.sampled_from([each for each in example_photographs() if each[:2] in (b"II", b"MM")])))
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    for _ in range(draw(st.integers(1, 4))):
        entry = start + 2 + 12 * draw(st.integers(0, count - 1))
        match draw(st.integers(0, 3)):
            case 0:
                tags = [*(254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324)]
                tags += [325, 338, 339, 347, 530, 700, 34665, 50706, TiffImagePlugin.ICCPROFILE]
                struct.pack_into(order + "H", data, entry, draw(st.sampled_from(tags)))
            case 1:
                struct.pack_into(order + "H", data, entry + 2, draw(st.integers(0, 18)))
            case 2:
                struct.pack_into(order + "I", data, entry + 4, draw(_DIRECTORY_VALUES))
            case 3:
                number = draw(_DIRECTORY_VALUES)
                small = struct.unpack_from(order + "H", data, entry + 2)[0] == 3
                struct.pack_into(
                    order + "H" if small else order + "I", data, entry + 8, number % (1 << 16 if small else 1 << 32)
                )
    return bytes(data)


def check_photograph(data: bytes) -> None:
    """Any bytes are a photograph, always the same one, or are refused."""
    rgb, error = attempted(reading.read, data, max_pixels=MAX_PIXELS)
    stored, stored_error = attempted(reading.read, data, upright=False, max_pixels=MAX_PIXELS)
    assert (error is None) == (stored_error is None), (error, stored_error)
    if error:
        return
    height, width = rgb.shape[:2]
    assert rgb.dtype == np.uint8 and rgb.shape == (height, width, 3) and rgb.flags.c_contiguous and rgb.flags.writeable
    assert 1 <= height * width <= MAX_PIXELS
    assert stored.shape[:2] in ((height, width), (width, height))
    # What a decoder left unwritten differs from time to time.
    assert np.array_equal(rgb, reading.read(bytearray(data), max_pixels=MAX_PIXELS))
    assert reading.fit_within(rgb, 4).shape[:2] <= (4, 4)


def check_mask(data: bytes) -> None:
    """Any bytes are a mask of a photograph of that size, or are refused."""
    with tempfile.TemporaryDirectory() as folder:
        path, photograph = Path(folder, "mask.png"), Path(folder, "photo.jpg")
        path.write_bytes(data)
        photograph.write_bytes(_saved(_in_mode("RGB"), "JPEG"))
        truth, error = attempted(supplied.read_truth, path, photograph, (HEIGHT, WIDTH))
    if error is None:
        check_truth(truth, (HEIGHT, WIDTH))


def check_prediction(data: bytes) -> None:
    """Any bytes are a label map that another program predicted, of classes alone, or are refused."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "photo.png").write_bytes(data)
        maps = LabelMaps.open(folder, {"photo.jpg": "photo"}, NUM_CLASSES)
        assert len(maps.sha256) == 64
        for task in (Task(), Task("binary"), Task("binary", "dog")):
            attempted(maps.notice, task)
            labels, error = attempted(maps.read, "photo.jpg", task, (HEIGHT, WIDTH))
            if error is None:
                assert labels.shape == (HEIGHT, WIDTH) and labels.dtype == np.uint8
                assert labels.max() < task.num_classes


def check_truth(truth: supplied.OwnTruth, size_hw: tuple[int, int]) -> None:
    """A truth that was accepted holds labels alone, and can be told and counted in every mode that it fits."""
    for task in (Task(), Task("binary"), Task("binary", "dog")):
        labels, error = attempted(truth.labels, task)
        sentence, _ = attempted(truth.read_as, task)
        assert sentence
        if error:
            assert not task.binary and not truth.is_labels
            continue
        assert labels.shape == size_hw and labels.dtype == np.uint8
        assert set(np.unique(labels)) <= {*range(task.num_classes), IGNORE_INDEX}
    assert truth.is_labels or truth.is_binary
    assert tuple(sorted(set(truth.numbers))) == truth.numbers


@st.composite
def pillow_images(draw: Any) -> Image.Image:
    """A picture in memory, of any of Pillow's modes, with values of any kind."""
    mode = draw(st.sampled_from(["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"]
                                + ["HSV", "LAB", "I", "F", "I;16", "I;16B", "I;16L"]))  # fmt: skip
    size = draw(st.sampled_from([(1, 1), (3, 2), (1, 40), (40, 1)]))
    if mode in ("F", "I"):
        numbers = [0.0, -1.0, 0.5, 255, 256, 65535, 65536, 2**31 - 1, -(2**31)]
        numbers += [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45] if mode == "F" else []
        chosen = draw(st.lists(st.sampled_from(numbers), min_size=math.prod(size), max_size=math.prod(size)))
        picture = Image.fromarray(
            np.array(chosen, np.float32 if mode == "F" else np.int64)
            .astype(np.float32 if mode == "F" else np.int32)
            .reshape(size[::-1])
        )
    else:
        picture = Image.new(mode, size)
        length = len(picture.tobytes())
        picture.frombytes(draw(st.binary(min_size=length, max_size=length)))
    transparency = draw(st.sampled_from([None, None, 0, 255, -1, 300, b"\0\x80\xff", (1, 2, 3), "x", 0.5]))
    if transparency is not None:
        picture.info["transparency"] = transparency
    return picture


def check_pillow(picture: Image.Image) -> None:
    """Any picture in memory is read, or refused, and is left as it was."""
    before = picture.tobytes()
    rgb, error = attempted(reading.read, picture)
    assert picture.tobytes() == before
    if error is None:
        assert rgb.dtype == np.uint8 and rgb.shape == (picture.height, picture.width, 3)
    mask, error = attempted(_decoded, picture)
    if error is None:
        assert mask.values.dtype == np.uint8 and mask.values.shape == (picture.height, picture.width)
        assert not mask.is_labels or set(masks.values_in(mask.values)) <= {*range(NUM_CLASSES), IGNORE_INDEX}
        assert not mask.is_binary or set(masks.values_in(mask.values)) <= {0, 1}


def _decoded(picture: Image.Image) -> masks.Mask | None:
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):  # those of PNG
        picture = picture.convert("L") if picture.mode in ("CMYK", "YCbCr", "RGBX") else Image.new("L", picture.size)
    return masks.decode(picture, "mask.png")


def _damaged(seeds: Any) -> st.SearchStrategy[bytes]:
    return mutated_bytes(seeds) | mutated_pngs()


TARGETS = (
    Target(
        "image",
        _damaged(example_photographs) | mutated_tiffs() | st.binary(max_size=60),
        check_photograph,
        example_photographs,
        smoke=100,
    ),
    Target("mask", _damaged(mask_pictures), check_mask, mask_pictures),
    Target("prediction", _damaged(mask_pictures), check_prediction, mask_pictures),
    Target("pillow", pillow_images(), check_pillow),
)
