"""Writes one line into the page's log for a request that failed, however deep the fault lies."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import gradio as gr

FAILED = "segcore: a request failed"
_LONGEST = 200  # characters of what an error says
_OURS = [Path(__file__).parents[2] / package for package in ("demo", "segcore")]


def is_ours(file_name: str) -> bool:
    """Whether a file of code is the product's own."""
    return any(Path(file_name).is_relative_to(folder) for folder in _OURS)


def for_visitors(error: Exception) -> gr.Error:
    """The error that a visitor sees; Gradio would write a traceback of some thirty lines into the log for each."""
    if isinstance(error, gr.Error):
        if error.print_exception:  # Gradio's own
            tell(error)
            error.print_exception = False
        return error
    tell(error)
    return gr.Error("Something went wrong here. Please try again.", print_exception=False)


def misfit() -> gr.Error:
    """The error for inputs that do not fit their components."""
    sentence = "An input is missing or of the wrong kind: upload files themselves, and give numbers as numbers."
    return gr.Error(sentence, print_exception=False)


def tell(error: Exception) -> None:
    """Write the line: what was raised, and where in our own code it came from."""
    said = repr(str(error)[:_LONGEST])
    print(f"{FAILED}: {type(error).__name__}: {said}, {_place(error)}", file=sys.stderr)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return ", ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames) if is_ours(each.filename))
