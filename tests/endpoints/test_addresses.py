"""Addresses and files of the server, given in place of a photograph, are refused."""

import re
import urllib.request

import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from tests.endpoints.calls import CAT, raw_call, sample
from tests.helpers.misbehaving_server import MisbehavingServer

pytestmark = pytest.mark.page

FILE_DATA = {"_type": "gradio.FileData"}


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


@pytest.mark.parametrize("payload", list(ADDRESSES.values()), ids=list(ADDRESSES))
def test_addresses_are_refused_without_a_request(page, quiet, elsewhere, payload):
    image = payload(f"{elsewhere.url}/photo.jpg")
    answer = raw_call(page.url, "segment", [image, "multiclass", "any", -1, "auto"])
    assert elsewhere.requests == []
    assert "event: error" in answer
    assert re.search("Please upload the file|Give an image|upload files themselves", answer)


def test_the_clients_own_addresses_are_refused_too(client, quiet, elsewhere):
    with pytest.raises(AppError, match="Please upload the file"):
        client.predict(handle_file(f"{elsewhere.url}/photo.jpg"), api_name="/segment")
    assert elsewhere.requests == []


@pytest.mark.parametrize("marks", [{}, {"meta": FILE_DATA}], ids=["bare", "marked"])
def test_files_of_the_server_are_refused(page, quiet, marks):
    image = {"path": str(sample(CAT)), **marks}
    answer = raw_call(page.url, "segment", [image, "multiclass", "any", -1, "auto"])
    assert "event: error" in answer
    assert "Please upload the file" in answer
