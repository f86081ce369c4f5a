"""`segcore evaluate`: one model scored on images whose truth is known."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..categories import Categories
from ..errors import AnnotationError, UsageError, told
from ..evaluation.protocols import protocol
from ..files.atomic import atomic_write, described, write_json, write_text
from ..truth.layouts import open_dataset
from .arguments import add_cluster_arguments, add_model_argument, add_scoring_arguments, add_task_arguments
from .common import DONE, FAILED, make_folder, make_room_for, output_stems, start_network, task_of
from .progress import progress_bar

if TYPE_CHECKING:
    from ..evaluation.run import Run, Sample
    from ..truth.dataset import Dataset


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_scoring_arguments(command)
    command.add_argument("--csv", type=Path, metavar="FILE", help="the same as a table")
    command.add_argument("--figures", type=Path, metavar="DIR", help="photograph, prediction and truth of each image")
    command.add_argument("--save-labels", type=Path, metavar="DIR", help="the label maps that were scored, as PNG")
    add_model_argument(command)
    add_task_arguments(command, precision="float32")
    add_cluster_arguments(command)


def run(arguments: argparse.Namespace) -> int:
    """Score a model on images whose truth is known; prints the headline and writes what was asked for."""
    from ..evaluation import evaluate as evaluation
    from ..report import headlines

    task, images, dataset, chosen, wrong = what_to_evaluate(arguments, arguments.model)
    for folder in filter(None, (arguments.figures, arguments.save_labels, arguments.resume)):
        make_folder(folder)
    if arguments.figures and arguments.save_labels and arguments.figures.samefile(arguments.save_labels):
        raise UsageError("--figures and --save-labels give files of the same names; name two folders")
    for file in filter(None, (arguments.json, arguments.csv, arguments.html)):
        make_room_for(file)
    with start_network(arguments) as network:
        run = evaluation.Run(network, dataset, chosen, task, images, arguments.batch_size)
        with progress_bar("evaluate", "image") as progress:
            outcome = evaluation.evaluate(
                run, resume=arguments.resume, on_image=_keep_samples(run, arguments), progress=progress
            )
        record = outcome.to_dict()
        if arguments.json:
            write_json(arguments.json, record)
        if arguments.csv:
            write_text(arguments.csv, evaluation.to_csv(record))
        if arguments.html:
            from ..report.extremes import extremes
            from ..report.html import html_report

            write_text(arguments.html, html_report(record, pictures=extremes(run, record)))
    print(headlines.of_evaluation(record))
    return left_out(record["skipped"], wrong)


def what_to_evaluate(arguments: argparse.Namespace, model: str) -> tuple:
    """Return the task, the images, their dataset, the protocol, and problems of records that belong to no image.

    Everything is checked before the weights are loaded.
    """
    from ..evaluation.run import choose_images

    task, chosen = task_of(arguments, model), protocol(arguments.protocol)
    dataset, wrong = _checked_dataset(arguments, task.categories)
    image_ids = None if arguments.image_ids is None else [dataset.id_of(text) for text in arguments.image_ids]
    images = choose_images(dataset, image_ids=image_ids, limit=arguments.limit)
    return task, images, dataset, chosen, wrong


def _checked_dataset(arguments: argparse.Namespace, categories: Categories) -> tuple[Dataset, list[str]]:
    """Open the dataset. With --skip-bad, also return the problems of records that belong to none of its images.

    Raises AnnotationError for any problem without that flag, and with it if no image is left.
    """
    wrong: list[str] = []
    dataset = open_dataset(arguments.dataset, arguments.split, categories, wrong)
    every = [*wrong, *dataset.broken.values()]
    if every and not arguments.skip_bad:
        raise AnnotationError(f"{told(every)}\nmend this, or leave the images concerned out with --skip-bad")
    if wrong and not dataset.images:
        raise AnnotationError(f"{told(wrong)}\nno image is left to be scored")
    return dataset, wrong


def left_out(skipped: list[dict], wrong: list[str]) -> int:
    """Print what was not scored: images, and records that belong to no image. Returns the exit status."""
    for problem in wrong:
        print(f"segcore: left out: {problem}", file=sys.stderr)
    for each in skipped:
        print(f"segcore: image {each['image_id']} left out: {each['reason']}", file=sys.stderr)
    return FAILED if skipped or wrong else DONE


def _keep_samples(run: Run, arguments: argparse.Namespace) -> Callable[[Sample], None] | None:
    """Return a callback that saves the label map and the figure of each image, as wanted; None if neither is."""
    stems = output_stems([Path(image.file_name) for image in run.images])

    def keep(sample: Sample) -> None:
        stem = stems[Path(sample.image.file_name)]
        if arguments.save_labels:
            with atomic_write(arguments.save_labels / f"{stem}.png") as file:
                Image.fromarray(sample.prediction).save(file, pnginfo=described(run.caption(sample.image)))
        if arguments.figures:
            with atomic_write(arguments.figures / f"{stem}.png") as file:
                file.write_bytes(sample.figure(run))

    return keep if arguments.save_labels or arguments.figures else None
