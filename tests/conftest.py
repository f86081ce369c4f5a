"""Where the tests find photographs with ground truth, commands to run, and a browser with the page."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from gradio_client import Client

from demo.server.failures import FAILED
from segcore.cli import main
from tests.helpers.browser import (
    CHROMIUM,
    FIREFOX,
    FIREFOX_LEAST,
    LONG,
    PHOTOGRAPH,
    drawn,
    firefox_version,
    launch,
    launch_firefox,
)
from tests.helpers.page_server import running_page
from tests.helpers.samples import NINE, write_samples

if TYPE_CHECKING:
    from segcore import Segmenter

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side, so one thread is enough for each, and for its pages
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background jobs; commands that we start inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
# Fixtures of this file and of some others; tests that start a page by themselves have the mark `page` in their files.
STARTS_A_PAGE = {"chromium", "page_url", "page"}
# By `pytest --durations=0`, the longest first.
LONGEST = [
    "test_whole_set.py",
    "test_connection.py",
    "test_train.py",
    "test_own_photograph.py",
    "test_page.py",
    "test_visitors.py",
    "test_cluster.py",
]
# Gradio's own client says this when the progress of an upload ends.
HARMLESS = "Method not implemented."


class Done(NamedTuple):
    """What a command has ended with: its exit status and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys) -> Callable[..., Done]:
    """Run a command of `segcore` in this process."""

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        try:
            status = main.main([str(each) for each in arguments])
        except SystemExit as stopped:  # argparse's way
            status = stopped.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Done(status, out, err)

    return run


def pytest_collection_modifyitems(items):
    """Mark the tests that start the page, and begin with the files that take long, so that none of them ends last."""

    def turn(item: pytest.Item) -> int:
        name = item.path.name
        return LONGEST.index(name) if name in LONGEST else len(LONGEST) + (item.path not in marked)

    for each in items:
        if STARTS_A_PAGE.intersection(getattr(each, "fixturenames", ())):
            each.add_marker("page")
    marked = {each.path for each in items if any(map(each.get_closest_marker, ("page", "slow")))}
    items.sort(key=turn)


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    """The shipped model in float32 on the processor. Tests leave it as it is."""
    from segcore import Segmenter
    from segcore.models import catalogue

    return Segmenter(catalogue.SHIPPED, device="cpu", precision="float32")


@pytest.fixture(scope="session")
def shared_coco() -> Path:
    """A folder of real COCO images in COCO's layout, which not every machine has."""
    folder = ROOT.parent / "shared" / "data" / "coco"
    if not folder.is_dir():
        pytest.skip(f"needs COCO images in {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_voc() -> Path:
    """A folder of real VOC images in VOC's layout, which not every machine has."""
    folder = ROOT.parent / "shared" / "data" / "voc"
    if not folder.is_dir():
        pytest.skip(f"needs VOC images in {folder}")
    return folder


@pytest.fixture(scope="session")
def examples_coco() -> Path:
    """The sample photographs that come with the code, in COCO's layout."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def nine_coco(tmp_path_factory) -> Path:
    """The samples NINE, in COCO's layout."""
    return write_samples(tmp_path_factory.mktemp("nine"), NINE)


@pytest.fixture(scope="module")
def no_downloads(tmp_path_factory):
    """A TORCH_HOME without weights, so that "auto" is the shipped model in this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        yield


@pytest.fixture(scope="session")
def usual_page(tmp_path_factory):
    """The page as it starts by itself, for all files of tests that do not need one of their own."""
    with running_page(env={"TORCH_HOME": str(tmp_path_factory.mktemp("torch"))}) as page:
        yield page


@pytest.fixture(scope="module")
def page_url(usual_page):
    """Where the usual page answers; after the tests of a file its log is looked at."""
    before = len(usual_page.log())
    yield usual_page.url
    said = usual_page.log()[before:]
    assert usual_page.process.poll() is None, f"the page died:\n{usual_page.log()}"
    assert not any(each in said for each in ("Traceback", FAILED, "Warning")), said


@pytest.fixture(scope="module")
def client(page_url, tmp_path_factory):
    """A program that asks the page."""
    return Client(
        page_url,
        download_files=tmp_path_factory.mktemp("downloads"),
        verbose=False,
        httpx_kwargs={"timeout": 300},  # a busy machine answers late
    )


@pytest.fixture(scope="module")
def chromium():
    """A browser; a test that asks for it is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no program named chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = launch(running)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    """Another browser; a test that asks for it is skipped where there is none."""
    if FIREFOX is None:
        pytest.skip("Firefox is not installed")
    if (version := firefox_version()) < FIREFOX_LEAST:
        pytest.skip(f"Firefox {version} is installed, and Playwright needs {FIREFOX_LEAST} or newer")
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("tornado")
    with playwright.sync_playwright() as running:
        browser = launch_firefox(running, tmp_path_factory.mktemp("firefox"))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser(chromium):
    """The browser of `open_page`. A file whose tests need another one has a fixture of this name."""
    return chromium


@pytest.fixture
def open_page(browser, page_url):
    """Open the page for a new visitor; no console may have an error, and no request may have left the machine."""
    complaints, contexts = [], []

    def open_one(url=None, **options):
        url = url or page_url
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LONG)
        page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda it: complaints.append(it.url) if not it.url.startswith((url, "data:", "blob:")) else 0,
        )
        page.goto(url)
        drawn(page, PHOTOGRAPH)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert [each for each in complaints if each != HARMLESS] == []
