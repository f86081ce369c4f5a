"""Logs failed requests in one line each, and makes the error messages for visitors."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import gradio as gr

FAILED = "segcore: a request failed"
_LONGEST = 200  # maximum characters of an error's message in the log
_OURS = [Path(__file__).parents[2] / package for package in ("demo", "segcore")]


def is_ours(file_name: str) -> bool:
    """Whether a source file belongs to demo or segcore."""
    return any(Path(file_name).is_relative_to(folder) for folder in _OURS)


def for_visitors(error: Exception) -> gr.Error:
    """Return the error that a visitor sees, and log it. Gradio would log a traceback of about thirty lines."""
    if isinstance(error, gr.Error):
        if error.print_exception:  # raised by Gradio itself
            tell(error)
            error.print_exception = False
        return error
    tell(error)
    return gr.Error("Something went wrong here. Please try again.", print_exception=False)


def misfit() -> gr.Error:
    """Return the error for inputs that do not fit their components."""
    sentence = "An input is missing or of the wrong kind: upload files themselves, and give numbers as numbers."
    return gr.Error(sentence, print_exception=False)


def tell(error: Exception) -> None:
    """Log an error in one line: what was raised, and where in demo or segcore."""
    said = repr(str(error)[:_LONGEST])
    print(f"{FAILED}: {type(error).__name__}: {said}, {_place(error)}", file=sys.stderr)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return ", ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames) if is_ours(each.filename))
