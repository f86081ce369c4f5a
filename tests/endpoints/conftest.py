"""A page, started once for each file of tests, and a client of it."""

import pytest
from gradio_client import Client

from tests.helpers.page_server import running_page


@pytest.fixture(scope="module")
def page(no_downloads):
    with running_page() as running:
        yield running
        assert running.process.poll() is None, f"the page died:\n{running.log()}"


@pytest.fixture(scope="module")
def client(page, tmp_path_factory):
    return Client(page.url, download_files=tmp_path_factory.mktemp("downloads"), verbose=False)


@pytest.fixture
def quiet(page):
    """Whatever the test does, the page's log gets no traceback from it."""
    before = len(page.log())
    yield
    assert "Traceback" not in page.log()[before:]
