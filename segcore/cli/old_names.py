"""Flags that got new names: the old ones keep working, with a line that says so."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any


class Renamed(argparse.Action):
    """Stores the value of a flag whose first name is the one to use."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        if option_string != self.option_strings[0]:
            told_new_name(option_string, self.option_strings[0])
        setattr(namespace, self.dest, values)


class RenamedSwitch(Renamed):
    """Likewise for a flag without a value: it stores True."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, **options | {"nargs": 0, "default": False})

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        super().__call__(parser, namespace, True, option_string)


def told_new_name(old: str, new: str) -> None:
    """Say on stderr what to use from now on."""
    print(f"segcore: {old} is now called {new}; the old name still works in this version", file=sys.stderr)
