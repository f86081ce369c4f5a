"""Download buttons. A file is written when its button is clicked."""

from __future__ import annotations

import functools
import json
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.server import sessions
from demo.server.checked_blocks import current_language
from demo.server.gradio_internals import upload_folder
from demo.waiting.visits import GoneError
from segcore.errors import SegcoreError

if TYPE_CHECKING:
    from demo.answers.photographs import Visible

MAX_LABEL = 255
NOT_SHOWN = "The picture is not complete yet. Please try again."
NO_ROOM = "The machine that runs this page cannot write the file, perhaps because its disk is full. Try again later."
# Writing files at full size takes much memory, so only two are written at the same time, for all visitors together.
WRITE: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "write", "concurrency_limit": 2}


def new_folder() -> Path:
    """Return the path of a new folder for one download. It is in the folder for uploads, which is cleaned regularly."""
    return upload_folder() / "downloads" / uuid.uuid4().hex


def download_buttons(
    labels: dict[str, str], write: Callable[..., Path], inputs: Sequence[Any], viewer: gr.HTML | None = None
) -> None:
    """Lay out a row of buttons. labels: by kind. A click writes the file, and the browser then downloads it.

    write(kind, folder, *inputs): writes a file into the folder, which it must create, and returns its path.
    viewer: a picture viewer; `write` gets one more input, from which `visible_in` reads what the viewer shows.
    """
    with gr.Row():
        buttons = [(kind, gr.Button(label, size="sm", min_width=130)) for kind, label in labels.items()]
    target = gr.DownloadButton(visible="hidden")
    shown = [gr.JSON(visible=False)] if viewer else []
    script = _ADD_SHOWN.format(json.dumps(f"#{viewer.elem_id} .viewer")) if viewer else None
    for kind, button in buttons:
        written = functools.partial(_write, write, kind)
        event = button.click(written, [*inputs, *shown], target, js=script, **WRITE)
        event.success(None, target, None, js=_TAKE, api_visibility="private")


def visible_in(told: Any) -> Visible:
    """Return what a viewer shows, from its data attributes. They come from the browser unchecked."""
    from demo.answers.photographs import Visible

    try:
        hidden = frozenset(int(each) for each in told["hidden"].split(",") if each.isdecimal())
        opacity, at_least = int(told["opacity"]) / 100, int(told["minimum"]) / 100
        named_in = current_language() if told["names"] == "true" else None
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise gr.Error(NOT_SHOWN, print_exception=False) from error
    if not (0 <= opacity <= 1 and 0 <= at_least <= 1 and all(each <= MAX_LABEL for each in hidden)):
        raise gr.Error(NOT_SHOWN, print_exception=False)
    return Visible(hidden, opacity, at_least, named_in)


_ADD_SHOWN = "(...inputs) => [...inputs.slice(0, -1), {{ ...document.querySelector({}).dataset }}]"
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
