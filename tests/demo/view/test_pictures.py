"""The data that Python sends to the picture viewer."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from demo.view import pictures
from tests.helpers.viewer import photograph, scene


def test_encode_labels_is_exact_and_small():
    labels = scene()
    encoded = pictures.encode_labels(labels[:, ::-1])  # not contiguous
    raw = zlib.decompress(base64.b64decode(encoded["deflate"]))
    decoded = np.frombuffer(raw, np.uint8).reshape(encoded["height"], encoded["width"])
    np.testing.assert_array_equal(decoded, labels[:, ::-1])
    large = pictures.encode_labels(np.kron(labels, np.ones((20, 20), np.uint8)))
    assert len(large["deflate"]) < 20_000  # of 1.9 million labels


@pytest.mark.parametrize("known", ["", None, "0123456789abcdef"])
def test_a_photograph_is_left_out_where_the_page_has_it(known):
    photo = pictures.encode_photo(photograph())
    value = pictures.view(photo, [pictures.panel("Photograph")])
    assert pictures.unless_known(value, known)["photo"] == photo
    again = pictures.unless_known(value, f"{known or ''} {photo['key']}")
    assert again["photo"] == {"key": photo["key"], "src": None}
    assert again["panels"] == value["panels"] and value["photo"] == photo


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4), np.int64), ((4, 4, 1), np.uint8), ((0, 4), np.uint8)])
def test_encode_labels_errors(shape, dtype):
    labels = np.zeros(shape, dtype)
    with pytest.raises(ValueError, match="expected a uint8"):
        pictures.encode_labels(labels)


def test_encode_photo_keeps_the_picture_and_no_metadata():
    image = photograph()
    encoded = pictures.encode_photo(image)
    prefix, data = encoded["src"].split(",")
    assert prefix == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as decoded:
        assert not decoded.getexif()
        assert np.abs(np.asarray(decoded).astype(int) - image).mean() < 2
    assert pictures.encode_photo(image)["key"] == encoded["key"]
    assert pictures.encode_photo(255 - image)["key"] != encoded["key"]
    assert pictures.already_sent(encoded) == {"key": encoded["key"], "src": None}


def test_encode_photo_errors():
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        pictures.encode_photo(np.zeros((4, 4), np.uint8))


def test_legend_entry_errors():
    with pytest.raises(ValueError, match="0..255"):
        pictures.legend_entry(256, "person", "#de1c4e")
    with pytest.raises(ValueError, match="red;"):
        pictures.legend_entry(1, "person", "red; background: url(x)")


def test_view_errors():
    photo = pictures.encode_photo(photograph())
    with pytest.raises(ValueError, match="single"):
        pictures.view(photo, [pictures.panel("Prediction")], layout="row")
    with pytest.raises(ValueError, match="at least one panel"):
        pictures.view(photo, [])
