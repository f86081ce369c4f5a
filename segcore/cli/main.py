"""The command line: predict, evaluate, compare, models, fetch-weights, fetch-coco, train, export.

Exit status: 0 done; 1 something of the input failed, each named on stderr and the rest done; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .. import __doc__ as description
from .. import __version__
from ..errors import SegcoreError, UsageError
from ..inference import memory
from ..models import hub
from . import compare, evaluate, export, fetch_coco, fetch_weights, models, predict, train
from .common import FAILED, WRONG_USAGE, complain, reason

_COMMANDS = {
    "predict": predict,
    "evaluate": evaluate,
    "compare": compare,
    "models": models,
    "fetch-weights": fetch_weights,
    "fetch-coco": fetch_coco,
    "train": train,
    "export": export,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; `argv` is without the program's name. Returns the exit status."""
    _replace_closed_streams()
    try:
        arguments = _parser().parse_args(argv)
        _pin_models(arguments)
        memory.keep_pages()
        with _debug_messages(arguments.verbose):
            status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of the pipe has ended; discard the remaining output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        return complain(str(error), WRONG_USAGE)
    except (SegcoreError, OSError) as error:
        return complain(reason(error), FAILED)
    except KeyboardInterrupt:
        return complain("stopped", FAILED)


def _parser() -> argparse.ArgumentParser:
    """Make the parser of all commands. The parsed arguments have the chosen command's function as `run`."""
    parser = argparse.ArgumentParser(prog="segcore", description=description)
    parser.add_argument("--version", action="version", version=f"segcore {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        command = commands.add_parser(name, help=module.run.__doc__, description=module.run.__doc__)
        command.set_defaults(run=module.run)
        module.add_arguments(command)
        command.add_argument(
            "--verbose", action="store_true", help="say on stderr what is used: model file, device, ..."
        )
    return parser


def _pin_models(arguments: argparse.Namespace) -> None:
    """Download the models on the Hub that are named, and put the commit into their names, once for all uses."""
    for option in ("model", "teacher", "name"):
        if hub.is_hub(name := getattr(arguments, option, None) or ""):
            setattr(arguments, option, hub.pinned(name))
    if names := getattr(arguments, "models", None):
        arguments.models = [hub.pinned(name) if hub.is_hub(name) else name for name in names]


@contextmanager
def _debug_messages(wanted: bool) -> Iterator[None]:
    """Write segcore's debug messages to stderr while a command runs, if they are wanted."""
    if not wanted:
        yield
        return
    log, handler = logging.getLogger("segcore"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("segcore: %(message)s"))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _replace_closed_streams() -> None:
    """Open the null device for standard streams that the caller has closed.

    Otherwise the next opened file would get the number of stderr, and C libraries would write messages into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # os.open returns the lowest free number
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))
