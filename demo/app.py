"""Starts the page: `python demo/app.py`, `make demo`, or a Hugging Face Space."""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    # Importing takes a while. Until then, Ctrl-C ends the process at once, without a traceback: no cleanup is needed.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else Ctrl-C is ignored: a background job
        signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    # When started by its path, Python looks for modules in demo/ instead of its parent folder.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

import importlib.util
import tempfile
import threading
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from demo.answers.model_pool import Arithmetic, ModelPool
from demo.server.files import Sweeper, working_folder
from demo.server.memory import keep_compact
from demo.settings import EXAMPLES, Limits, Settings
from demo.waiting.turns import Turns

if TYPE_CHECKING:
    from demo.answers.datasets import Datasets
    from demo.page import Page


def main() -> int:
    """Read the settings, build the page, serve it until it is stopped. Returns the exit status."""
    settings = Settings.read()
    keep_compact()
    # Exit normally on these signals, so that uploads are deleted when a service manager or a terminal ends the page.
    for each in {"SIGTERM", "SIGHUP"} & set(dir(signal)):
        signal.signal(getattr(signal, each), lambda *_: sys.exit(0))
    # PyTorch filters this warning itself, but that fails when it is imported while other threads run, as here.
    warnings.filterwarnings("ignore", message="Warning only once for all operators")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # After each request Gradio summarises the last 10,000 requests, for a dashboard that this page does not offer.
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    # Seconds between heartbeats while a browser waits for an answer. connection.js expects them.
    os.environ.setdefault("GRADIO_HEARTBEAT_INTERVAL", "3")
    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(working_folder(_temporary_folder()))
        except OSError as error:
            print(f"segcore: no temporary folder can be written to ({error}); name one with TMPDIR", file=sys.stderr)
            return 1
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)  # all temporary files are deleted when the page ends
        uploads, counts = folder / "uploads", folder / "counts"
        uploads.mkdir()
        counts.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        return serve(settings, uploads, counts)


def _temporary_folder() -> Path:
    """Return the folder for temporary files; a folder in the home if no other one can be written to."""
    if "GRADIO_TEMP_DIR" in os.environ:
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
    else:
        try:
            folder = Path(tempfile.gettempdir())
        except FileNotFoundError:
            folder = Path.home() / ".cache" / "segcore"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def serve(settings: Settings, uploads: Path, counts: Path) -> int:
    """Start the page and wait until it is stopped. Returns the exit status.

    uploads: Gradio's folder for uploads. counts: the folder for the counts of evaluations.
    """
    from segcore.errors import SegcoreError

    try:
        blocks = start(settings, uploads, counts)
    except KeyboardInterrupt:  # after the start, Gradio handles it
        return 0
    except NoPortError as error:
        print(f"segcore: {error}", file=sys.stderr)
        return 1
    except SegcoreError as error:
        print(f"segcore: {error}", file=sys.stderr)
        return 2
    blocks.block_thread()
    return 0


class NoPortError(Exception):
    """The page cannot listen on its address. The message says what to do."""


def start(settings: Settings, uploads: Path, counts: Path) -> Page:
    """Build and launch the page, which runs in its own threads. Gradio reads the environment when it is imported.

    Raises NoPortError, and SegcoreError for an incompatible Gradio and for a model or data set that cannot be used.
    """
    from demo import page
    from demo.answers.datasets import SAMPLES
    from demo.answers.samples import Thumbnails
    from demo.server import gradio_internals
    from demo.server.listeners import keep_listened
    from demo.server.sessions import Sessions
    from segcore.errors import UsageError
    from segcore.truth.coco import CocoDataset

    gradio_internals.check()
    if settings.mcp and importlib.util.find_spec("mcp") is None:
        raise UsageError('--mcp needs a package that is not installed here: pip install "gradio[mcp]"')
    pool, datasets = _models_and_images(settings)
    examples = datasets.get(SAMPLES)
    assert isinstance(examples, CocoDataset)
    datasets.get(datasets.default)  # opens it now, so that the operator sees its problems, not a visitor
    blocks = page.build(pool, datasets, Thumbnails(examples), counts, os.environ.get("SPACE_ID"))
    # Requests for the network wait in the model pool's queue, not in Gradio's.
    blocks.queue(max_size=4 * settings.queue)
    gradio_internals.EventLine(blocks).look_less_often()
    keep_listened(blocks)
    try:
        _launch(blocks, settings, uploads)
    except OSError as error:
        raise NoPortError(_cannot_listen(settings)) from error
    Sessions(blocks, settings.limits.keep_seconds, most=settings.sessions).take_over()
    _start_sweepers(blocks, settings.limits, uploads, counts)
    threading.Thread(target=_warm_up, args=(pool,), name="warm-up", daemon=True).start()
    return blocks


def _models_and_images(settings: Settings) -> tuple[ModelPool, Datasets]:
    from demo.answers.datasets import Datasets, fetched_folder
    from demo.answers.kept_samples import KeptSamples, kept_folder

    pool = ModelPool(
        settings.model,
        offline=settings.offline,
        threads=settings.threads,
        models=settings.models,
        turns=Turns(settings.at_once, settings.queue),
        limits=settings.limits,
        arithmetic=Arithmetic(settings.precision, settings.engine),
        kept=KeptSamples((EXAMPLES / "samples").iterdir(), kept_folder()),
    )
    datasets = Datasets(
        *(settings.dataset, EXAMPLES, fetched_folder()),
        categories=pool.categories,
        offline=settings.offline,
        base_url=settings.coco_url,
    )
    return pool, datasets


def _launch(blocks: Page, settings: Settings, uploads: Path) -> None:
    """Launch the page. Raises OSError if it cannot listen."""
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware

    from demo import page
    from demo.server import gradio_internals
    from demo.server.guard import Guard, Sense
    from demo.server.listeners import Listening
    from demo.server.previews import Previews

    limits = settings.limits
    guard = Middleware(
        Guard,
        uploads=uploads,
        max_bytes=limits.max_bytes,
        max_seconds=limits.upload_seconds,
        hosts=settings.hosts,
        frames=settings.frames,
        mcp=settings.mcp,
    )
    compressed = Middleware(GZipMiddleware, compresslevel=4)  # higher levels take twice the time for 10 % less
    blocks.launch(
        server_name=settings.host,
        server_port=settings.port,
        theme=page.THEME,
        i18n=blocks.translations,
        head=page.head(os.environ.get("SPACE_ID")),
        favicon_path=page.FAVICON,
        max_file_size=limits.max_bytes,
        footer_links=["api", "settings"],
        ssr_mode=False,
        max_threads=4 * settings.queue + 40,  # Gradio's maximum; waiting requests need no thread
        share=False,
        enable_monitoring=False,
        mcp_server=settings.mcp,
        run_history=False,
        app_kwargs={"middleware": [guard, compressed, Middleware(Listening), Middleware(Previews), Middleware(Sense)]},
        prevent_thread_lock=True,
        **gradio_internals.DO_NOT_ASK_OWN_PAGE,
    )


def _start_sweepers(blocks: Page, limits: Limits, uploads: Path, counts: Path) -> None:
    from demo.server import gradio_internals

    Sweeper(
        uploads,
        keep_seconds=limits.keep_seconds,
        unfinished_seconds=limits.upload_seconds,
        keep_bytes=limits.keep_bytes,
        spared=gradio_internals.own_files(blocks),
        named=gradio_internals.sets_of_file_names(blocks),
    ).start()
    # Longer than any evaluation can take, so that no running evaluation loses its counts.
    Sweeper(counts, keep_seconds=limits.keep_seconds + limits.scoring_seconds).start()


def _cannot_listen(settings: Settings) -> str:
    if settings.port is None:
        return f"no port of {settings.host} is free; name one with --port, or another address with --host"
    return (
        f"nothing can listen on port {settings.port} of {settings.host}: another program does, or it is not allowed; "
        "choose another with --port, or leave it out to take the first that is free"
    )


def _warm_up(pool: ModelPool) -> None:
    from segcore.errors import SegcoreError
    from segcore.inference.refine import EDGES, check_refine
    from segcore.models import catalogue

    try:
        pool.warm_up()
        check_refine(EDGES)  # imports OpenCV
    except SegcoreError as error:  # visitors get the same message with their requests
        print(f"segcore: {error}", file=sys.stderr)
    if pool.default != catalogue.PREFERRED:
        pool.fetch(catalogue.PREFERRED)  # not earlier: importing torchvision would delay the first answer


if __name__ == "__main__":
    sys.exit(main())
