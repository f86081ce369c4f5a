"""What the two endpoints for programs refuse, and with which words; addresses and paths are never opened."""

from __future__ import annotations

import re
import urllib.request

import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from tests.misbehaving_server import MisbehavingServer
from tests.page_client import FILE_DATA
from tests.plain_http import segment
from tests.samples import CAT, sample


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mode": "binary", "class_name": "unicorn"}, "no class 'unicorn'; choose one of: .*tvmonitor"),
        ({"mode": "binary", "class_name": "background"}, "the background is no object; choose 'any'"),
        ({"model": "unet"}, "no model 'unet'; choose 'auto' or one of: deeplabv3_resnet101"),
        ({"model": "deeplabv3_resnet50"}, "ResNet-50 is not on this machine.*choose another"),
        ({"mode": "both"}, "mode must be 'multiclass' or 'binary', got 'both'"),
        ({"mode": "binary", "threshold": 3}, "probability from 0 to 1.*got 3"),
        ({"mode": "binary", "threshold": "high"}, "probability from 0 to 1.*got 'high'"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_segment_errors(client, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(handle_file(sample(CAT)), api_name="/segment", **arguments)


def test_segment_errors_for_what_is_no_photograph(client, tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes(sample(CAT).read_bytes()[:3000])
    for name, sentence in (("notes.txt", "notes.txt is not an image.*use JPEG"), ("cut.jpg", "cut.jpg is damaged")):
        with pytest.raises(AppError, match=sentence):
            client.predict(handle_file(tmp_path / name), api_name="/segment")
    with pytest.raises(AppError, match="Give an image"):
        client.predict(None, api_name="/segment")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"image_id": 17}, "no image 17 in samples; .* the nearest is 542"),
        ({"image_id": None}, "Give the id of an image"),
        ({"image_id": "cat"}, "no image 'cat' in samples; ids are numbers: .* from 542"),
        ({"image_id": CAT, "protocol": "voc"}, "no protocol 'voc'; choose one of: original, torchvision, report"),
        ({"image_id": CAT, "model": "unet"}, "no model 'unet'"),
        ({"image_id": CAT, "mode": "binary", "class_name": "unicorn"}, "no class 'unicorn'"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_evaluate_coco_errors(client, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(api_name="/evaluate_coco", **arguments)


@pytest.fixture(scope="module")
def elsewhere():
    """Another server on this machine, which must never hear of the page."""
    with MisbehavingServer({"/photo.jpg": sample(CAT).read_bytes()}) as server:
        with urllib.request.urlopen(f"{server.url}/photo.jpg") as answer:
            answer.read()
        assert len(server.requests) == 1, "it does count"
        server.requests.clear()
        yield server


ADDRESSES = {
    "path": lambda url: {"path": url},
    "path of a file": lambda url: {"path": url, "meta": FILE_DATA},
    "path by name": lambda url: {"path": url.replace("127.0.0.1", "localhost"), "meta": FILE_DATA},
    "path in capitals": lambda url: {"path": url.replace("http", "HTTP"), "meta": FILE_DATA},
    "url": lambda url: {"url": url},
    "url of a file": lambda url: {"url": url, "meta": FILE_DATA},
    "both": lambda url: {"path": url, "url": url, "orig_name": "photo.jpg", "meta": FILE_DATA},
    "url beside an upload's path": lambda url: {"path": "photo.jpg", "url": url, "meta": FILE_DATA},
    "text": lambda url: url,
}


@pytest.mark.parametrize("payload", ADDRESSES.values(), ids=ADDRESSES.keys())
def test_addresses_are_refused_without_a_request(page_url, elsewhere, payload):
    image = payload(f"{elsewhere.url}/photo.jpg")
    answer = segment(page_url, image)
    assert elsewhere.requests == []
    assert "event: error" in answer
    assert re.search("Please upload the file|Give an image|upload files themselves", answer)


def test_the_clients_own_addresses_are_refused_too(client, elsewhere):
    with pytest.raises(AppError, match="Please upload the file"):
        client.predict(handle_file(f"{elsewhere.url}/photo.jpg"), api_name="/segment")
    assert elsewhere.requests == []


@pytest.mark.parametrize("marks", [{}, {"meta": FILE_DATA}], ids=["bare", "marked"])
def test_files_of_the_server_are_refused(page_url, marks):
    image = {"path": str(sample(CAT)), **marks}
    answer = segment(page_url, image)
    assert "event: error" in answer
    assert "Please upload the file" in answer
