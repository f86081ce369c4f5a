"""The usual page, and a client of it."""

import pytest
from gradio_client import Client


@pytest.fixture(scope="module")
def page(usual_page):
    yield usual_page
    assert usual_page.process.poll() is None, f"the page died:\n{usual_page.log()}"


@pytest.fixture(scope="module")
def client(page, tmp_path_factory):
    return Client(page.url, download_files=tmp_path_factory.mktemp("downloads"), verbose=False)


@pytest.fixture
def quiet(page):
    """Whatever the test does, the page's log gets no traceback from it."""
    before = len(page.log())
    yield
    assert "Traceback" not in page.log()[before:]
