"""Starts a program of ours and presses Ctrl-C just when it looks for a module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROGRAM = """
import os, runpy, signal, sys

class Stop:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts tests in the background may have it ignored
sys.meta_path.insert(0, Stop())
{start}
"""


def stopped_at(module: str, start: str, *arguments: object, env: dict[str, str] | None = None):
    """start: the statement that runs the program, with `arguments`. Returns the process that has ended."""
    command = [sys.executable, "-c", _PROGRAM.format(module=module, start=start), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
