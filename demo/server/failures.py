"""What the page's log says of a request that failed: one line, however deep the fault lies."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import gradio as gr

FAILED = "segcore: a request failed"
_LONGEST = 200  # characters of what an error says
_OURS = [Path(__file__).parents[2] / package for package in ("demo", "segcore")]


class Told(gr.Blocks):
    """Blocks whose failures have one line in the log, where Gradio writes a traceback of some thirty."""

    async def process_api(self, block_fn: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().process_api(block_fn, *args, **kwargs)
        except gr.Error as error:
            if error.print_exception:  # Gradio's own
                tell(error)
                error.print_exception = False
            raise
        except Exception as error:
            tell(error)
            raise gr.Error("Something went wrong here. Please try again.", print_exception=False) from error


def tell(error: Exception) -> None:
    """Write the line: what was raised, and where in our own code it came from."""
    said = repr(str(error)[:_LONGEST])
    print(f"{FAILED}: {type(error).__name__}: {said}, {_place(error)}", file=sys.stderr)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if any(Path(each.filename).is_relative_to(folder) for folder in _OURS)]
    return ", ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(own))
