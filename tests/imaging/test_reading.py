"""Whatever a person uploads arrives as upright RGB, or is refused with a sentence that says what to do."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segcore.errors import ImageError
from segcore.imaging import formats, reading
from tests.helpers.encoded_pictures import BLUE, GREEN, PATTERN, RED, A, B, C, D, E, F, encoded, photograph, png

# ---- formats


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_lossless_formats(file_format):
    data = encoded(Image.fromarray(photograph()), file_format)
    assert np.array_equal(reading.read(data), photograph())


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats(file_format):
    if file_format == "AVIF":
        pytest.importorskip("PIL._avif")
    data = encoded(Image.fromarray(photograph()), file_format, quality=95)
    assert np.abs(reading.read(data).astype(int) - photograph()).max() <= 8


@pytest.mark.parametrize("file_format", ["JPEG2000", "PPM", "QOI", "PCX", "SGI", "TGA"])
def test_what_no_camera_writes_is_no_photograph(file_format):
    with pytest.raises(ImageError, match="use JPEG, PNG"):
        reading.read(encoded(Image.fromarray(photograph()), file_format))


def test_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # pillow-heif writes it as the container's own rotation
    heif = pillow_heif.from_pillow(Image.fromarray(photograph()))
    heif.save(buffer, quality=95, exif=exif.tobytes())
    for upright in (True, False):
        rgb = reading.read(buffer.getvalue(), upright=upright)
        assert rgb.shape == (64, 48, 3)
        assert np.abs(rgb.astype(int) - np.rot90(photograph(), -1)).max() <= 8


def test_heic_plugin_is_registered_when_needed(monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(photograph())).save(buffer)
    assert reading.read(buffer.getvalue()).shape == (48, 64, 3)


def test_heic_without_its_library_names_it(monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        reading.read(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(ImageError, match="use JPEG, PNG, AVIF, WebP, TIFF, BMP or GIF"):
        reading.read(b"text")


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(file_format):
    frames = [Image.new("RGB", (8, 6), color) for color in (RED, GREEN, BLUE)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.array_equal(reading.read(data), np.full((6, 8, 3), RED))


def test_tiny_and_thin():
    assert reading.read(encoded(Image.new("RGB", (1, 1), RED), "PNG")).tolist() == [[[255, 0, 0]]]
    assert reading.read(encoded(Image.new("L", (30_000, 1), 9), "PNG")).shape == (1, 30_000, 3)
    assert reading.read(encoded(Image.new("L", (1, 30_000), 9), "JPEG")).shape == (30_000, 1, 3)


def test_large_pictures_are_put_together_without_seams():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (1201, 2003, 3), dtype=np.uint8)  # several stripes, the last one shorter
    assert np.array_equal(reading.read(encoded(Image.fromarray(source), "BMP")), source)
    assert np.array_equal(reading.read(source), source)


# ---- orientation


UPRIGHT = {  # EXIF: which corner of the scene the stored first row and column are
    1: [[A, B, C], [D, E, F]],
    2: [[C, B, A], [F, E, D]],
    3: [[F, E, D], [C, B, A]],
    4: [[D, E, F], [A, B, C]],
    5: [[A, D], [B, E], [C, F]],
    6: [[D, A], [E, B], [F, C]],
    7: [[F, C], [E, B], [D, A]],
    8: [[C, F], [B, E], [A, D]],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PIL"])
def test_orientation(orientation, file_format):
    picture = Image.fromarray(PATTERN)
    picture.getexif()[274] = orientation
    source = picture if file_format == "PIL" else encoded(picture, file_format, exif=picture.getexif())
    upright = reading.read(source)
    assert upright.flags.c_contiguous
    assert np.array_equal(upright, np.array(UPRIGHT[orientation], np.uint8))
    assert np.array_equal(reading.read(source, upright=False), PATTERN)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_orientation_nonsense_is_taken_as_upright():
    picture = Image.fromarray(photograph())
    exif = Image.Exif()
    for value in (0, 9, 77):
        exif[274] = value
        assert reading.read(encoded(picture, "JPEG", exif=exif)).shape == (48, 64, 3)
    for broken in (b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0no TIFF header"):
        for file_format in ("JPEG", "PNG"):
            assert reading.read(encoded(picture, file_format, exif=broken)).shape == (48, 64, 3)


# ---- what is refused


NOT_AN_IMAGE = "is not an image that can be read; use JPEG, PNG, .*or GIF$"
NOT_IMAGES = {
    "notes.txt": b"no picture here, only words",
    "wide.txt": "a text in UTF-16".encode("utf-16-le"),
    "paper.pdf": b"%PDF-1.7\n1 0 obj",
    "page.html": b"<!doctype html><html></html>",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "film.mp4": b"\0\0\0\x18ftypmp42" + bytes(200),
    "print.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    "old.wmf": b"\xd7\xcd\xc6\x9a\0\0" + bytes(100),
    "zeros.jpg": bytes(500),
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_not_an_image_errors(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(NOT_IMAGES[name])
    with pytest.raises(ImageError, match=f"^{name} {NOT_AN_IMAGE}"):
        reading.read(path)
    with pytest.raises(ImageError, match=f"^the file {NOT_AN_IMAGE}"):
        reading.read(NOT_IMAGES[name])


def test_eps_starts_no_program(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(ImageError):
        reading.read(NOT_IMAGES["print.eps"])


@pytest.mark.parametrize("tag", [{254: 1}, {50706: b"\1\4\0\0"}])
def test_camera_raw_errors(tag):
    data = encoded(Image.fromarray(photograph()), "TIFF", tiffinfo=tag)
    with pytest.raises(ImageError, match="raw file; export it as JPEG"):
        reading.read(data)


def test_file_access_errors(tmp_path, monkeypatch):
    (tmp_path / "empty.jpg").touch()
    for name, message in {
        "missing.jpg": "there is no file missing.jpg",
        "empty.jpg": "empty.jpg is empty",
        "": "is a folder",
        "a" * 5000: "cannot be opened",
        "zero\0byte.jpg": "cannot be opened",
        "empty.jpg/below.jpg": "below.jpg cannot be opened",
    }.items():
        with pytest.raises(ImageError, match=message) as caught:
            reading.read(tmp_path / name)
        assert str(tmp_path.parent) not in str(caught.value)
    for address in ("https://example.org/cat.jpg", Path("http://example.org/cat.jpg")):
        with pytest.raises(ImageError, match="is an address, which is not fetched.*download"):
            reading.read(address)
    (tmp_path / "http:").mkdir()  # a folder may be called anything
    Image.new("RGB", (1, 1)).save(tmp_path / "http:" / "cat.png")
    monkeypatch.chdir(tmp_path)
    assert reading.read("http:/cat.png").shape == (1, 1, 3)
    with pytest.raises(ImageError, match="is empty"):
        reading.read(b"")
    with pytest.raises(ImageError, match="is a folder"):
        reading.read("")

    def forbidden(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "secret.jpg").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(ImageError, match="^secret.jpg may not be read"):
        reading.read(tmp_path / "secret.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipe_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        reading.read(tmp_path / "pipe.jpg")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_cut_short_errors(tmp_path, file_format):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), file_format)
    path = tmp_path / "cut.jpg"
    for length in (20, len(data) // 2, len(data) * 9 // 10):
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match="^cut.jpg is damaged, cut short"):
            reading.read(path)


def test_a_few_bytes_that_announce_gigabytes_get_no_room_for_them(tmp_path):
    whole = encoded(Image.new("RGB", (9, 6)), "PNG")
    at = whole.index(b"IDAT") - 4
    path = tmp_path / "lies.png"
    path.write_bytes(whole[:at] + struct.pack(">I", 1_900_000_000) + whole[at + 4 :])
    tracemalloc.start()
    try:
        pixels = reading.read(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pixels.shape == (6, 9, 3)
    assert most < 10_000_000


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File Read")
def test_damaged_files_give_a_picture_or_an_image_error():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    for file_format in ("JPEG", "PNG", "GIF", "WEBP", "BMP"):
        data = encoded(noise, file_format, exif=exif)
        for _ in range(60):
            damaged = bytearray(data)
            for place in rng.integers(0, min(len(data), 200), 3):
                damaged[place] = rng.integers(0, 256)
            try:
                rgb = reading.read(bytes(damaged), max_pixels=1_000_000)
            except ImageError:
                continue
            assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3


def test_out_of_memory_errors(monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(np, "empty", exhausted)
    with pytest.raises(ImageError, match="needs more memory than there is; make it smaller"):
        reading.read(encoded(Image.fromarray(PATTERN), "PNG"))


def test_format_that_this_pillow_was_built_without_errors(monkeypatch):
    Image.init()
    left_out = (
        lambda *_: pytest.fail("a missing decoder was called"),
        lambda _: "WEBP support not installed",
    )
    monkeypatch.setitem(Image.OPEN, "WEBP", left_out)
    with pytest.raises(ImageError, match=NOT_AN_IMAGE):
        reading.read(b"RIFF\x1a\0\0\0WEBPVP8L" + bytes(20))


def test_too_many_bytes_errors(tmp_path, monkeypatch):
    path = tmp_path / "large.bmp"
    Image.fromarray(photograph()).save(path)
    size = path.stat().st_size
    assert reading.read(path, max_bytes=size).shape == (48, 64, 3)
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("the file was opened"))
    with pytest.raises(ImageError, match="^large.bmp has 0.0 MB, and 0.0 MB is the most"):
        reading.read(path, max_bytes=size - 1)
    with pytest.raises(ImageError, match="is the most that is read"):
        reading.read(bytes(11), max_bytes=10)


def test_too_many_pixels_errors():
    for source in (PATTERN, Image.fromarray(PATTERN), encoded(Image.fromarray(PATTERN), "PNG")):
        assert reading.read(source, max_pixels=6).shape == (2, 3, 3)
        with pytest.raises(ImageError, match="3 x 2 = 0.0 megapixels"):
            reading.read(source, max_pixels=5)


def test_bombs_cost_no_memory():
    """Headers that promise thousands of megapixels, in files of a few bytes."""
    dot = Image.new("L", (11, 11))
    bombs = [
        png(60_000, 60_000, 8, 2, b""),
        png(60_000, 60_000, 8, 6, b""),
        encoded(dot, "GIF").replace(struct.pack("<2H", 11, 11), struct.pack("<2H", 65535, 65535)),
        encoded(dot, "JPEG").replace(struct.pack(">2H", 11, 11), struct.pack(">2H", 65535, 65535)),
        # A WebP of 16383 x 16383 in one colour, in 34 bytes.
        bytes.fromhex("524946461a000000574542505650384c0e0000002ffebfff0f071011fd0f4444ff03"),
    ]
    script = textwrap.dedent(
        """
        import pickle, resource, sys
        from PIL import Image
        from segcore.imaging import reading as image
        from segcore.errors import ImageError
        bombs = pickle.load(sys.stdin.buffer)
        Image.init()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for bomb in bombs:
            try:
                image.read(bomb)
            except ImageError as error:
                print(error)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
    )
    pytest.importorskip("resource")
    command = [sys.executable, "-W", "always", "-c", script]
    ran = subprocess.run(command, input=pickle.dumps(bombs), capture_output=True, check=True)
    *messages, grown = ran.stdout.decode().splitlines()
    assert len(messages) == len(bombs)
    assert all("megapixels, and 100.0 is the most" in message for message in messages), messages
    assert messages[0].startswith("the file is 60000 x 60000 = 3,600.0 megapixels")
    assert int(grown) < 50_000 * (1024 if sys.platform == "darwin" else 1)
    assert ran.stderr == b""


def test_pillows_own_limit_neither_warns_nor_decides(monkeypatch):
    limit = 1_000_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in ((2000, 1500), (3_000_000, 1)):
            data = encoded(Image.new("1", size, 1), "PNG")
            assert reading.read(data).shape == (*size[::-1], 3)
    assert Image.MAX_IMAGE_PIXELS == limit


def test_threads():
    expected = [photograph(40 + number, 50) for number in range(8)]
    files = [encoded(Image.fromarray(each), "PNG") for each in expected]
    with ThreadPoolExecutor(8) as pool:
        for rgb, wanted in zip(pool.map(reading.read, files * 4), expected * 4, strict=True):
            assert np.array_equal(rgb, wanted)


# ---- fit_within


def test_fit_within():
    source = photograph(48, 64)
    assert reading.fit_within(source, 64) is source
    assert reading.fit_within(source, 32).shape == (24, 32, 3)
    assert reading.fit_within(source.swapaxes(0, 1), 32).shape == (32, 24, 3)
    assert reading.fit_within(np.zeros((1, 5000, 3), np.uint8), 100).shape == (1, 100, 3)
    shrunk = reading.fit_within(source, 32)
    means = source.reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(shrunk[2:-2, 2:-2] - means[2:-2, 2:-2]).max() <= 1
    assert shrunk.flags.writeable and shrunk.flags.c_contiguous


def test_fit_within_errors():
    with pytest.raises(ImageError, match="at least 1 pixel, got 0"):
        reading.fit_within(PATTERN, 0)
    for array in (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.float32), np.zeros((0, 2, 3), np.uint8)):
        with pytest.raises(ImageError, match="expected a uint8 array"):
            reading.fit_within(array, 10)
