"""Starts the page as a person would, for the tests that talk to it from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START_UP = 300  # seconds; a busy machine with a cold disk needs many more than an idle one
_SETTINGS = ("GRADIO_", "SEGCORE_", "SPACE_", "SPACES_", "PYTHONPATH", "CPU_CORES")  # what would change how it runs
_DEFAULTS = {"SEGCORE_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class RunningPage:
    """A page that answers at `url`, without a trailing slash."""

    url: str
    process: subprocess.Popen
    log_file: Path

    def log(self) -> str:
        """What it has written to stdout and stderr so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")


@contextmanager
def running_page(*flags: str, env: Mapping[str, str] | None = None, root: Path = ROOT) -> Iterator[RunningPage]:
    """Run `python demo/app.py --port <a free one> *flags` from `root`, offline, until the block ends.

    env: variables set besides the caller's own, from which all that configure the page are left out. Where it names
    GRADIO_SERVER_PORT, the page is told its port by that alone. What the page keeps under TMPDIR and
    in the user's cache goes when it ends.
    Raises RuntimeError with the log of a page that dies or does not answer.
    """
    settings = dict(env or {})
    port = settings.get("GRADIO_SERVER_PORT") or str(free_port())
    if "GRADIO_SERVER_PORT" not in settings:
        flags = ("--port", port, *flags)
    with tempfile.TemporaryDirectory(prefix="segcore-page-", ignore_cleanup_errors=True) as folder:
        log_file, temporary, cache = (Path(folder, name) for name in ("log.txt", "tmp", "cache"))
        temporary.mkdir()
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "demo/app.py", *flags],
                cwd=root,
                env=_own_environment() | _DEFAULTS | {"TMPDIR": temporary, "XDG_CACHE_HOME": cache} | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        page = RunningPage(f"http://127.0.0.1:{port}", process, log_file)
        try:
            _wait_for(page)
            yield page
        finally:
            _stop(process)


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}


def _wait_for(page: RunningPage) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is not a proxy's business
    end = time.monotonic() + START_UP
    while time.monotonic() < end:
        if page.process.poll() is not None:
            raise RuntimeError(f"the page ended with status {page.process.returncode}:\n{page.log()}")
        try:
            with opener.open(page.url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the page did not answer within {START_UP} s:\n{page.log()}")


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def page_here(folder: Path, **environment: str) -> Iterator[str]:
    """The page as `demo/app.py` starts it, but in this process, where its objects can be looked at; gives its address.

    folder: an empty one for its files; environment: settings of the page.
    """
    from demo import app
    from demo.settings import Settings

    uploads, counts = folder / "uploads", folder / "counts"
    for each in (uploads, counts):
        each.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        settings = Settings.read(["--port", str(free_port())], {"SEGCORE_OFFLINE": "1"} | environment)
        blocks = app.start(settings, uploads, counts)
        yield blocks.local_url.rstrip("/")
        blocks.close()
