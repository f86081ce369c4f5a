"""Code that the commands share: exit statuses, error messages, loading the model, and output paths."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..categories import VOC, Categories
from ..errors import UsageError
from ..inference.task import Task
from ..models import catalogue

if TYPE_CHECKING:
    from ..evaluation.ray_cluster import Cluster
    from ..inference.segmenter import Segmenter

DONE, FAILED, WRONG_USAGE = 0, 1, 2  # exit statuses


def complain(message: str, status: int) -> int:
    """Print an error on stderr. Returns the exit status."""
    print(f"segcore: {message}", file=sys.stderr)
    return status


def reason(error: Exception) -> str:
    """Return an error's message for the user."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run this again"
    return str(error)


def task_of(arguments: argparse.Namespace, model: str) -> Task:
    """Return the task. Raises UsageError for options that only binary mode has."""
    task = Task(arguments.mode, arguments.class_name, arguments.threshold, categories_of(model))
    if not task.binary and (task.object_id is not None or task.threshold is not None):
        raise UsageError("--class and --threshold ask for one class against all else; add --mode binary")
    return task


def categories_of(model: str) -> Categories:
    """Return the model's categories. PyTorch is imported only for a trained model's file and for a factory."""
    if not catalogue.has_own_categories(model):
        return VOC
    from ..models.loading import categories

    return categories(model)


def load_segmenter(arguments: argparse.Namespace, model: str | None = None) -> Segmenter:
    """Load the model, by default --model. For int8, print its agreement with float32 on stderr."""
    from ..inference.segmenter import Segmenter
    from ..report.words import calibrated

    segmenter = Segmenter(model or arguments.model, calibration=arguments.calibration, **_how(arguments))
    if measured := segmenter.calibration:
        print(f"segcore: {calibrated(measured.photographs, measured.agreement)}", file=sys.stderr)
    return segmenter


@contextmanager
def start_network(arguments: argparse.Namespace) -> Iterator[Segmenter | Cluster]:
    """Yield a `Segmenter` in this process, or with --workers or --ray a `Cluster`."""
    if arguments.ray is None and arguments.workers is None:
        yield load_segmenter(arguments)
        return
    from ..evaluation.ray_cluster import Cluster

    with Cluster(
        arguments.model,
        **_how(arguments),
        address=arguments.ray,
        workers=arguments.workers,
        on_lost=lambda problem: tqdm.write(f"segcore: {problem}", file=sys.stderr),
    ) as cluster:
        yield cluster


def _how(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that `Segmenter` and `Cluster` have in common."""
    names = "device", "precision", "resize", "engine", "tta", "refine"
    return {name: getattr(arguments, name) for name in names}


def make_folder(path: Path) -> None:
    """Make a folder for results, with its parents. Raises UsageError if a file is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path} is not a folder, or lies in what is none; name another for the results") from None


def make_room_for(path: Path) -> None:
    """Check before the work begins that a file can be written, and make its folder. Raises UsageError if it cannot."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    make_folder(path.parent)
    place = path if path.exists() and not path.is_file() else path.resolve().parent  # as `atomic_write` does
    if not os.access(place, os.W_OK):
        raise UsageError(f"there is no permission to write to {place}; name a file elsewhere")
