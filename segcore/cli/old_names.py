"""Renamed flags. The old names keep working and print a notice."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any


class Renamed(argparse.Action):
    """Stores the value of a flag. The flag's first name is the current one, all others are old names."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        if option_string != self.option_strings[0]:
            told_new_name(option_string, self.option_strings[0])
        setattr(namespace, self.dest, values)


class RenamedSwitch(Renamed):
    """The same for a flag without a value. It stores True."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, **options | {"nargs": 0, "default": False})

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        super().__call__(parser, namespace, True, option_string)


def told_new_name(old: str, new: str) -> None:
    """Print on stderr which name to use."""
    print(f"segcore: {old} is now called {new}; the old name still works in this version", file=sys.stderr)
