"""What the browser is sent to show of an uploaded photograph is small; who downloads the file gets all of it."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from demo.server.previews import PREVIEW_SIDE, small_copy
from segcore.imaging import reading

TO_SHOW = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}  # what browsers send for <img>
TO_OPEN = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}


def photograph(width: int = 2400, height: int = 1800) -> Image.Image:
    """Dark at the top left, red to the right, green to the bottom."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 0 * x], -1).astype(np.uint8))


def turned_jpeg() -> bytes:
    """A phone's photograph: stored on its side, upright by its EXIF orientation."""
    picture, buffer = photograph(), io.BytesIO()
    picture.getexif()[274] = 6
    picture.save(buffer, "JPEG", quality=90, exif=picture.getexif())
    return buffer.getvalue()


def test_small_copy_is_the_photograph_upright(tmp_path):
    path = tmp_path / "turned.jpg"
    path.write_bytes(turned_jpeg())

    small = reading.read(small_copy(path))

    assert small.shape == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4, 3)
    whole = reading.fit_within(reading.read(path), PREVIEW_SIDE)
    assert np.abs(small.astype(int) - whole).mean() < 3


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_small_copy_tells_nothing_of_the_metadata(tmp_path, file_format):
    picture = photograph()
    picture.getexif()[271] = "a camera"
    path = tmp_path / "photograph"
    picture.save(path, file_format, exif=picture.getexif())
    with Image.open(io.BytesIO(small_copy(path))) as small:
        assert small.size == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4) and not small.getexif()


def test_what_is_small_or_no_photograph_is_left_alone(tmp_path):
    photograph(PREVIEW_SIDE, 300).save(tmp_path / "small.png")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "cut.jpg").write_bytes(turned_jpeg()[:5000])
    for name in ("small.png", "notes.json", "cut.jpg", "missing.jpg"):
        assert small_copy(tmp_path / name) is None


def test_only_who_shows_an_upload_gets_the_small_copy(page_url):
    with httpx.Client(base_url=f"{page_url}/gradio_api", timeout=60, trust_env=False) as http:
        whole = turned_jpeg()
        [path] = http.post("/upload", files={"files": ("turned.jpg", whole, "image/jpeg")}).json()

        shown = http.get(f"/file={path}", headers=TO_SHOW)
        assert shown.headers["content-type"] == "image/jpeg"
        assert reading.read(shown.content).shape == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4, 3)
        assert len(shown.content) < len(whole) / 4
        for headers in (TO_OPEN, {"Accept": "*/*"}):
            assert http.get(f"/file={path}", headers=headers).content == whole
