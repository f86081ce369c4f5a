"""Download buttons. A file is written when its button is clicked."""

from __future__ import annotations

import functools
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demo.server import sessions
from demo.server.gradio_internals import upload_folder
from demo.waiting.visits import GoneError
from segcore.errors import SegcoreError

NO_ROOM = "The machine that runs this page cannot write the file, perhaps because its disk is full. Try again later."
# Writing files at full size takes much memory, so only two are written at the same time, for all visitors together.
WRITE: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "write", "concurrency_limit": 2}


def new_folder() -> Path:
    """Return the path of a new folder for one download. It is in the folder for uploads, which is cleaned regularly."""
    return upload_folder() / "downloads" / uuid.uuid4().hex


def download_buttons(labels: dict[str, str], write: Callable[..., Path], inputs: Sequence[Any]) -> None:
    """Lay out a row of buttons. labels: by kind. A click writes the file, and the browser then downloads it.

    write(kind, folder, *inputs): writes a file into the folder, which it must create, and returns its path.
    """
    with gr.Row():
        buttons = [(kind, gr.Button(label, size="sm", min_width=130)) for kind, label in labels.items()]
    target = gr.DownloadButton(visible="hidden")
    for kind, button in buttons:
        written = functools.partial(_write, write, kind)
        event = button.click(written, list(inputs), target, **WRITE)
        event.success(None, target, None, js=_TAKE, api_visibility="private")


# Uses the event's value, because the hidden button's link may still point to the previous file.
_TAKE = """file => {
    const link = Object.assign(document.createElement("a"), { href: file.url, download: file.orig_name });
    document.body.append(link);
    link.click();
    link.remove();
}"""


def _write(write: Callable[..., Path], kind: str, *inputs: Any) -> str:
    try:
        return str(write(kind, new_folder(), *inputs))
    except GoneError as error:
        raise sessions.lost() from error
    except SegcoreError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except OSError as error:
        print(f"segcore: a visitor's file could not be written: {error}", file=sys.stderr)
        raise gr.Error(NO_ROOM, print_exception=False) from error
