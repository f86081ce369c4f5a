"""What the commands share: exit statuses and complaints, the model that was asked for, and where results go."""

from __future__ import annotations

import argparse
import errno
import sys
import unicodedata
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
    """Say on stderr what is wrong. Returns the exit status."""
    print(f"segcore: {message}", file=sys.stderr)
    return status


def reason(error: Exception) -> str:
    """What an error says to a person."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run this again"
    return str(error)


def task_of(arguments: argparse.Namespace, model: str) -> Task:
    """What is asked of the model. Raises UsageError for options that only binary mode has."""
    task = Task(arguments.mode, arguments.class_name, arguments.threshold, categories_of(model))
    if not task.binary and (task.object_id is not None or task.threshold is not None):
        raise UsageError("--class and --threshold ask for one class against all else; add --mode binary")
    return task


def categories_of(model: str) -> Categories:
    """What the model tells apart; PyTorch is imported only to ask a trained model's file."""
    if not catalogue.is_file(model):
        return VOC
    from ..models.loading import categories

    return categories(model)


def load_segmenter(arguments: argparse.Namespace, model: str | None = None) -> Segmenter:
    """The model, by default --model, ready to run; says on stderr how close int8 is to float32."""
    from ..inference.segmenter import Segmenter
    from ..report.words import calibrated

    segmenter = Segmenter(model or arguments.model, calibration=arguments.calibration, **_how(arguments))
    if measured := segmenter.calibration:
        print(f"segcore: {calibrated(measured.photographs, measured.agreement)}", file=sys.stderr)
    return segmenter


@contextmanager
def start_network(arguments: argparse.Namespace) -> Iterator[Segmenter | Cluster]:
    """What runs the model: a `Segmenter` in this process, or the workers of a `Cluster` with --workers or --ray."""
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
    """The options that a `Segmenter` and a `Cluster` share."""
    names = "device", "precision", "resize", "engine", "tta", "refine"
    return {name: getattr(arguments, name) for name in names}


def output_stems(files: list[Path]) -> dict[Path, str]:
    """What each file's outputs are called: its stem. Where two files share a stem, the whole name keeps them apart.

    Stems that some disks do not tell apart, as IMG and img, count as one.
    """
    taken: set[str] = set()
    stems: dict[Path, str] = {}
    for path in files:
        stem = path.stem if _on_any_disk(path.stem) not in taken else path.name.replace(".", "_")
        while _on_any_disk(stem) in taken:
            stem += "_"
        taken.add(_on_any_disk(stem))
        stems[path] = stem
    return stems


def _on_any_disk(name: str) -> str:
    """The same text for all names that some disk does not tell apart: upper and lower case, ways to write an accent."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def make_folder(path: Path) -> None:
    """Make a folder for results, with those above it. Raises UsageError where a file is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path} is not a folder, or lies in what is none; name another for the results") from None


def make_room_for(path: Path) -> None:
    """See to it, before the work begins, that a file can be written in the end. Raises UsageError if it cannot."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    make_folder(path.parent)
