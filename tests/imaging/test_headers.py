"""Files that would take a decoder very long are refused by what their structure shows; photographs never are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from segcore.errors import ImageError
from segcore.imaging import headers, reading
from tests.helpers import hostile_pictures
from tests.helpers.hostile_pictures import encoded


@pytest.mark.parametrize("kind", hostile_pictures.COSTLY)
def test_costly_files_are_refused_undecoded(kind, monkeypatch):
    content = hostile_pictures.COSTLY[kind]()
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="far more parts than a photograph"):
        reading.read(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + b"x" * 40_000, "comment": b"c" * 9_000}),
        ("GIF", {"comment": b"c" * 100_000}),
        ("PNG", {}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_photographs_are_read(file_format, options):
    rng = np.random.default_rng(0)
    picture, buffer = Image.fromarray(rng.integers(0, 256, (900, 1200, 3), np.uint8)), io.BytesIO()
    picture.save(buffer, file_format, **options)
    assert reading.read(buffer.getvalue()).shape == (900, 1200, 3)


def test_a_jpeg_within_a_jpeg_counts_apart():
    """A thumbnail's scans, and a film behind the photograph, are not the photograph's."""
    thumbnail = hostile_pictures.jpeg_of_many_scans(60, 16, 16)
    whole = encoded(64, 48, "JPEG", progressive=True, exif=b"Exif\0\0" + thumbnail)
    film = hostile_pictures.jpeg_of_many_scans(200, 16, 16)
    assert reading.read(whole + film).shape == (48, 64, 3)


def test_cut_files_say_nothing_of_their_cost():
    for make in hostile_pictures.COSTLY.values():
        whole = make()
        for end in range(0, 60):
            for file_format in ("JPEG", "GIF", "PNG"):
                assert not headers.is_costly(io.BytesIO(whole[:end]), file_format)
