"""Starts the page: `python demo/app.py`, `make demo`, or a Hugging Face Space."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks for modules in demo/, not beside it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from demo.engine import Engine
from demo.settings import EXAMPLES, Settings
from demo.turns import Turns


def main() -> int:
    """Read the settings, build the page, serve it until it is stopped. Returns the exit status."""
    settings = Settings.read()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that uploads are deleted when a service manager stops it
    # PyTorch silences this one itself, which fails where it is imported beside other threads, as here.
    warnings.filterwarnings("ignore", message="Warning only once for all operators")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # After each request Gradio summarises all of the last 10,000, for a page that is not offered here.
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    _make_sure_of_a_temporary_folder()
    with tempfile.TemporaryDirectory(prefix="segcore-uploads-", ignore_cleanup_errors=True) as uploads:
        os.environ.setdefault("GRADIO_TEMP_DIR", uploads)
        return serve(settings)


def _make_sure_of_a_temporary_folder() -> None:
    """Where the home is the only folder that may be written to, temporary files go there too."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = Path.home() / ".cache" / "segcore"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(folder)  # the libraries' own helpers read it too


def serve(settings: Settings) -> int:
    """Everything after the environment is set; Gradio reads it when it is imported."""
    from starlette.middleware import Middleware

    from demo import page
    from demo.datasets import SAMPLES, Datasets, fetched_folder
    from demo.previews import Previews
    from demo.samples import Thumbnails
    from segcore.errors import SegcoreError
    from segcore.image import MAX_BYTES

    try:
        engine = Engine(
            settings.model,
            offline=settings.offline,
            threads=settings.threads,
            models=settings.models,
            turns=Turns(settings.at_once, settings.queue),
        )
        datasets = Datasets(
            *(settings.coco, EXAMPLES, fetched_folder()),
            categories=engine.categories,
            offline=settings.offline,
            base_url=settings.coco_url,
        )
        examples = datasets.get(SAMPLES)
        datasets.get(datasets.default)  # what the operator named is looked at now, not before a visitor's eyes
    except SegcoreError as error:
        print(f"segcore: {error}", file=sys.stderr)
        return 2
    thumbnails = Thumbnails()
    samples = [thumbnails.sample(examples, image) for image in examples.images]
    blocks = page.build(engine, samples, datasets, thumbnails)
    blocks.queue(max_size=4 * settings.queue)  # who waits for the network waits in the engine's line, not in this one
    try:
        blocks.launch(
            server_name=settings.host,
            server_port=settings.port,
            theme=page.THEME,
            head=page.HEAD,
            max_file_size=MAX_BYTES,
            footer_links=["api", "settings"],
            ssr_mode=False,
            app_kwargs={"middleware": [Middleware(Previews)]},
            max_threads=4 * settings.queue + 40,  # as many as Gradio starts; those that wait take no thread
            prevent_thread_lock=True,
        )
    except OSError as error:  # the port is taken
        print(f"segcore: {error}", file=sys.stderr)
        return 1
    threading.Thread(target=_warm_up, args=(engine,), name="warm-up", daemon=True).start()
    blocks.block_thread()
    return 0


def _warm_up(engine: Engine) -> None:
    from segcore import catalogue
    from segcore.errors import SegcoreError

    try:
        engine.warm_up()
    except SegcoreError as error:  # visitors are told the same when they ask
        print(f"segcore: {error}", file=sys.stderr)
    if engine.default != catalogue.PREFERRED:
        engine.fetch(catalogue.PREFERRED)  # only now: it imports torchvision, which the first answer would wait for


if __name__ == "__main__":
    sys.exit(main())
