"""Buttons for downloads, whose files are written when they are clicked."""

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
# Files at full size take much memory, so few are written at a time, of all visitors and kinds together.
WRITE = {"api_visibility": "private", "concurrency_id": "write", "concurrency_limit": 2}


def new_folder() -> Path:
    """The path of a folder for one file that somebody takes; it lies among the uploads, which are deleted in time."""
    return upload_folder() / "downloads" / uuid.uuid4().hex


def download_buttons(labels: dict[str, str], write: Callable[..., Path], inputs: Sequence[Any]) -> None:
    """Lay out a row of buttons, labels by kind; each writes its file when it is clicked, and the browser then takes it.

    write(kind, folder, *inputs) -> path, in a folder that it makes.
    """
    with gr.Row():
        buttons = [(kind, gr.Button(label, size="sm", min_width=130)) for kind, label in labels.items()]
    target = gr.DownloadButton(visible="hidden")
    for kind, button in buttons:
        written = functools.partial(_write, write, kind)
        event = button.click(written, list(inputs), target, **WRITE)
        event.success(None, target, None, js=_TAKE, api_visibility="private")


# Of the value itself: the hidden button's own link may still be that of the file before.
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
