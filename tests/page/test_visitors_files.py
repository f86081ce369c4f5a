"""How long visitors' files are kept: they go by age, where room is short, and when the page ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from demo.server.files import Sweeper, working_folder
from tests.helpers.files import becomes, files_in
from tests.helpers.page_client import FILE_DATA
from tests.helpers.page_server import RunningPage, running_page
from tests.helpers.plain_http import ask, segment, upload
from tests.helpers.samples import DOG, sample

pytestmark = pytest.mark.page

PHOTOGRAPH = sample(DOG)


@pytest.fixture
def sweeper(tmp_path) -> Sweeper:
    own = tmp_path / "own" / "sample.jpg"
    own.parent.mkdir()
    own.write_bytes(b"own")
    return Sweeper(tmp_path, keep_seconds=100, unfinished_seconds=20, keep_bytes=1000, spared={own})


def put(path: Path, size: int = 10) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_old_files_go_and_the_pages_own_stay(sweeper, tmp_path):
    photograph, part = put(tmp_path / "hash" / "photo.jpg"), put(tmp_path / "tmp123")
    sweeper.sweep(0)
    sweeper.sweep(21)
    assert photograph.exists()
    assert not part.exists(), "an upload that never ended"
    later = put(tmp_path / "downloads" / "overlay.png")
    sweeper.sweep(99)
    sweeper.sweep(101)
    assert (photograph.exists(), later.exists()) == (False, True)
    sweeper.sweep(300)
    sweeper.sweep(301)
    sweeper.sweep(402)
    assert {path.name for path in tmp_path.rglob("*")} == {"own", "sample.jpg"}, "nor do empty folders stay"


def test_the_names_of_files_go_with_them(tmp_path):
    photograph, later = put(tmp_path / "1" / "photo.jpg"), put(tmp_path / "2" / "photo.jpg")
    names = [{str(photograph), str(later)}, {str(photograph)}]
    sweeper = Sweeper(tmp_path, keep_seconds=100, named=names)
    sweeper.sweep(0)
    later.write_bytes(b"again")
    sweeper.sweep(1)
    assert names == [{str(photograph), str(later)}, {str(photograph)}]
    sweeper.sweep(101)
    assert names == [{str(later)}, set()]


def test_a_photograph_given_again_is_new_again(sweeper, tmp_path):
    photograph = put(tmp_path / "hash" / "photo.jpg")
    sweeper.sweep(0)
    put(tmp_path / "new").rename(photograph)
    sweeper.sweep(90)
    sweeper.sweep(150)
    assert photograph.exists()
    sweeper.sweep(191)
    assert not photograph.exists()


def test_where_room_is_short_the_oldest_go_first(sweeper, tmp_path):
    first = put(tmp_path / "1" / "photo.jpg", 600)
    sweeper.sweep(0)
    second = put(tmp_path / "2" / "photo.jpg", 600)
    sweeper.sweep(1)
    assert (first.exists(), second.exists()) == (False, True)


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_jumps_deletes_nothing(sweeper, tmp_path, monkeypatch, years):
    photograph = put(tmp_path / "hash" / "photo.jpg")
    sweeper.sweep(0)
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + years * 365 * 24 * 3600)
    sweeper.sweep(50)
    assert photograph.exists()
    sweeper.sweep(101)
    assert not photograph.exists()


def test_the_folder_goes_and_that_of_a_killed_page_with_the_next_start(tmp_path):
    with working_folder(tmp_path) as running:
        killed = tmp_path / running.name.replace(running.name[-4:], "dead")
        put(killed / "photo.jpg")
        put(killed / "running.lock", 0)
        other = put(tmp_path / "segcore-running-other" / "photo.jpg")
        with working_folder(tmp_path) as second:
            assert running.exists(), "of a page that runs"
            assert not killed.exists()
            assert other.exists(), "nobody knows whose that is"
        assert not second.exists()
    assert not running.exists()


def test_uploads_and_downloads_are_deleted_whoever_has_left(no_downloads, tmp_path):
    short = {"SEGCORE_KEEP_MINUTES": "0.1", "SEGCORE_SCORING_MINUTES": "0.05"}
    with running_page(env={"GRADIO_TEMP_DIR": str(tmp_path)} | short) as page:
        [folder] = tmp_path.glob("*/uploads")
        counts = put(folder.parent / "counts" / "one evaluation" / "progress.jsonl")
        own = files_in(folder)
        assert own, "the samples' small copies"
        path = said = ""

        def segmented() -> bool:  # while the model is still being loaded, the upload may be deleted before it is read
            nonlocal path, said
            [path] = json.loads(upload(page.url, PHOTOGRAPH.read_bytes())[1])
            said = segment(page.url, {"path": path, "meta": FILE_DATA})
            return said.startswith("event: complete")

        assert becomes(segmented), said
        [overlay, _] = json.loads(said.rsplit("data: ", 1)[1])
        assert Path(path).name == "photo.jpg"
        assert becomes(lambda: not Path(path).exists() and not Path(overlay["path"]).exists())
        assert becomes(lambda: not counts.exists())
        assert files_in(folder) == own
        text = ask(page.url)[2]
        assert "deleted after 0.1 minutes" in text, "and the page says so"


def stop_after_an_upload(page: RunningPage, how: signal.Signals, folder: Path) -> None:
    """Stop a page that keeps its files in the folder: everything goes, without a traceback."""
    assert upload(page.url, PHOTOGRAPH.read_bytes())[0] == 200
    assert files_in(folder)
    page.process.send_signal(how)
    assert page.process.wait(30) == 0
    assert "Traceback" not in page.log()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP], ids=lambda it: it.name)
def test_everything_goes_when_the_page_is_stopped(no_downloads, tmp_path, how):
    with running_page(env={"GRADIO_TEMP_DIR": str(tmp_path)}) as page:
        stop_after_an_upload(page, how, tmp_path)


def test_everything_of_a_killed_page_goes_with_the_next_start(no_downloads, tmp_path):
    with running_page(env={"GRADIO_TEMP_DIR": str(tmp_path)}) as page:
        assert upload(page.url, PHOTOGRAPH.read_bytes())[0] == 200
        page.process.kill()
        page.process.wait(30)
    assert [path for path in files_in(tmp_path) if path.name == "photo.jpg"]
    with running_page(env={"GRADIO_TEMP_DIR": str(tmp_path)}) as page:
        assert not [path for path in files_in(tmp_path) if path.name == "photo.jpg"]
        stop_after_an_upload(page, signal.SIGTERM, tmp_path)
