"""`segcore predict`: photographs in, label maps, overlays and JSON out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..errors import SegcoreError, UsageError
from ..files.atomic import atomic_write
from ..files.names import output_stems
from ..imaging.reading import photographs_in
from ..inference.task import Task
from .arguments import add_cluster_arguments, add_model_argument, add_task_arguments
from .common import DONE, FAILED, complain, make_folder, reason, start_network, task_of
from .progress import progress_bar

if TYPE_CHECKING:
    from ..evaluation.ray_cluster import Cluster
    from ..inference.segmentation import Segmentation
    from ..inference.segmenter import Segmenter


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("input", nargs="+", type=Path, metavar="INPUT", help="a photograph, or a folder of them")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the results")
    command.add_argument("--cutout", action="store_true", help="also write the objects on a transparent background")
    command.add_argument(
        "--probabilities", action="store_true", help="also write the probabilities of all classes, as .npz"
    )
    add_model_argument(command)
    add_task_arguments(command, precision="auto")
    add_cluster_arguments(command)


def run(arguments: argparse.Namespace) -> int:
    """Segment files and folders of photographs into --out."""
    task = task_of(arguments, arguments.model)
    files, problems = _image_files(arguments.input)
    stems = output_stems(files)
    _check_photographs_stay(files, stems, arguments)
    make_folder(arguments.out)
    status = DONE
    for problem in problems:
        status = complain(problem, FAILED)
    with start_network(arguments) as network, progress_bar("predict", "image") as progress:
        outcomes = _predict_each(network, task, {path: arguments.out / stem for path, stem in stems.items()}, arguments)
        for done, (path, failure) in enumerate(zip(files, outcomes, strict=True), start=1):
            if failure:
                tqdm.write(f"segcore: {path}: {failure}", file=sys.stderr)
                status = FAILED
            progress(done, len(files))
    return status


def _check_photographs_stay(files: list[Path], stems: dict[Path, str], arguments: argparse.Namespace) -> None:
    """Raise UsageError if a result would replace one of the photographs."""
    from ..inference.export import CUTOUT, LABELS, OVERLAY

    ends = [OVERLAY, LABELS, CUTOUT] if arguments.cutout else [OVERLAY, LABELS]
    written = {arguments.out.resolve() / f"{stem}{end}" for stem in stems.values() for end in ends}
    for path in files:
        if path.parent.resolve() / path.name in written:
            raise UsageError(f"{path} would be overwritten by a result; give --out another folder")


def _predict_each(
    network: Segmenter | Cluster, task: Task, targets: dict[Path, Path], arguments: argparse.Namespace
) -> Iterator[str | None]:
    """Write the results of each file to its target. Yield, in order, None or what was wrong with the file.

    A thread writes one result while the network runs on the next photograph, so two photographs are in memory. Writing
    takes half as long on one core as the network takes on all cores.
    """
    from ..evaluation.ray_cluster import Cluster
    from ..inference.export import write_results

    options = {"cutout": arguments.cutout, "probabilities": arguments.probabilities}
    if isinstance(network, Cluster):
        for target, results in zip(targets.values(), network.predict(targets, task, **options), strict=True):
            yield results if isinstance(results, str) else _write_all(target, results)
        return

    def outcome_of(work: Callable, *given: Any) -> tuple[Any, str | None]:
        try:
            return work(*given), None
        except (SegcoreError, OSError) as error:
            return None, reason(error)

    def write(result: Segmentation, path: Path) -> str | None:
        return outcome_of(partial(write_results, result, task, path.name, targets[path], **options))[1]

    with ThreadPoolExecutor(max_workers=1) as writer:
        before: Future[str | None] | None = None
        for path in targets:
            result, problem = outcome_of(network, path)
            if before:
                yield before.result()
            before = writer.submit(write, result, path) if result else writer.submit(str, problem)
        if before:
            yield before.result()


def _write_all(target: Path, results: dict[str, bytes]) -> str | None:
    """Write the files of one result, given by the ends of their names. Returns what went wrong, or None."""
    try:
        for end, content in results.items():
            with atomic_write(f"{target}{end}") as file:
                file.write_bytes(content)
    except OSError as error:
        return reason(error)
    return None


def _image_files(inputs: list[Path]) -> tuple[list[Path], list[str]]:
    """Return the named files and the image files of the named folders, without duplicates, and problems of folders.

    Raises UsageError if there is no file. A named file that does not exist fails later, when it is read.
    """
    files: list[Path] = []
    problems: list[str] = []
    for path in inputs:
        if not path.is_dir():
            files.append(path)
            continue
        try:
            inside = photographs_in(path)
        except OSError as error:
            problems.append(f"{path}: this folder cannot be read: {error.strerror}")
            continue
        files += inside
        if not inside:
            problems.append(f"{path}: there are no images in this folder")
    if not files:
        raise UsageError(
            f"there are no images in {', '.join(map(str, inputs))}; name files or a folder that holds some"
        )
    return list(dict.fromkeys(files)), problems
