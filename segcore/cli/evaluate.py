"""`segcore evaluate`: one model scored on images whose truth is known."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..categories import Categories
from ..errors import AnnotationError, UsageError, told
from ..evaluation.protocols import protocol
from ..files.atomic import atomic_write, described, write_json, write_text
from ..imaging.reading import SUFFIXES
from ..models.catalogue import AUTO
from ..truth import voc
from ..truth.layouts import open_dataset, split_file
from ..truth.predictions import label_stems
from ..truth.tags import read_tags
from .arguments import add_cluster_arguments, add_model_argument, add_scoring_arguments, add_task_arguments
from .common import DONE, FAILED, make_folder, make_room_for, start_network, task_of
from .progress import progress_bar

if TYPE_CHECKING:
    from ..evaluation.predictions import Predictions
    from ..evaluation.ray_cluster import Cluster
    from ..evaluation.run import Run, Sample
    from ..inference.segmenter import Segmenter
    from ..inference.task import Task
    from ..truth.dataset import Dataset

# Options that ask something of a network, with their attributes and defaults.
_OF_NETWORKS: dict[str, tuple[str, object]] = {
    "--model": ("model", AUTO),
    "--threshold": ("threshold", None),
    "--resize": ("resize", "squeeze"),
    "--device": ("device", "auto"),
    "--precision": ("precision", "float32"),
    "--engine": ("engine", "auto"),
    "--calibration": ("calibration", None),
    "--tta": ("tta", False),
    "--refine": ("refine", None),
    "--workers": ("workers", None),
    "--ray": ("ray", None),
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_scoring_arguments(command)
    command.add_argument("--csv", type=Path, metavar="FILE", help="write the scores as a table")
    command.add_argument("--figures", type=Path, metavar="DIR", help="photograph, prediction and truth of each image")
    command.add_argument("--save-labels", type=Path, metavar="DIR", help="the label maps that were scored, as PNG")
    command.add_argument(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="score the label maps of any program, DIR/PHOTOGRAPH.png, instead of a model",
    )
    command.add_argument(
        "--tags",
        type=Path,
        metavar="FILE",
        help="a CSV in UTF-8 whose first column has the images' file names or ids, and the others tags such as the "
        "weather; each value of a tag is scored by itself",
    )
    add_model_argument(command)
    add_task_arguments(command, precision="float32")
    add_cluster_arguments(command)


def run(arguments: argparse.Namespace) -> int:
    """Score a model on images whose truth is known. Prints the main scores and writes the requested files."""
    from ..evaluation import evaluate as evaluation
    from ..report import headlines

    if arguments.predictions is not None:
        refuse_network_options(arguments, "--predictions")
    task, images, dataset, chosen, wrong = what_to_evaluate(arguments, arguments.model)
    tags = None if arguments.tags is None else read_tags(arguments.tags, dataset)
    for folder in filter(None, (arguments.figures, arguments.save_labels, arguments.resume)):
        make_folder(folder)
    _check_folders_differ(arguments, dataset)
    check_files(arguments, dataset)
    with _scored(arguments, dataset, task) as network:
        run = evaluation.Run(network, dataset, chosen, task, images, arguments.batch_size)
        with progress_bar("evaluate", "image") as progress:
            outcome = evaluation.evaluate(
                run,
                resume=arguments.resume,
                on_image=_keep_samples(run, arguments),
                progress=progress,
                processes=evaluation.processes_beside(network.device, len(images)),
            )
        record = outcome.to_dict(tags)
        if arguments.json:
            write_json(arguments.json, record)
        if arguments.csv:
            write_text(arguments.csv, evaluation.to_csv(record))
        if arguments.html:
            write_text(arguments.html, _report(run, record))
    print(headlines.of_evaluation(record))
    return left_out(record["skipped"], wrong)


def _report(run: Run, record: dict) -> str:
    from ..report.extremes import pictures
    from ..report.html import html_report
    from ..report.origins import thumbnails

    extremes, doubtful = pictures(run, record)
    copies = thumbnails(run.dataset, record)
    return html_report(record, pictures=extremes, doubtful=doubtful, thumbnails=copies)


def _check_folders_differ(arguments: argparse.Namespace, dataset: Dataset) -> None:
    """Raise UsageError if files of the same names would overwrite each other, or the dataset's own."""
    paths = (dataset.path(each.id) for each in dataset.images)
    written = {"--figures": arguments.figures, "--save-labels": arguments.save_labels}
    kept = {
        "--predictions": arguments.predictions,
        "the photographs of --dataset": next((each.parent for each in paths if each.suffix.lower() == ".png"), None),
        "the truth of --dataset": dataset.folder / voc.LABELS,
    }
    pairs = *itertools.combinations(written.items(), 2), *itertools.product(written.items(), kept.items())
    for (one, path), (other, same) in pairs:
        if path and same and path.is_dir() and same.is_dir() and path.samefile(same):
            raise UsageError(f"{one} and {other} are for files of the same names; name two folders")


def check_files(arguments: argparse.Namespace, dataset: Dataset) -> None:
    """Raise UsageError if a file for results cannot be written, or is another file of results or one that is read."""
    asked = ((f"--{name}", getattr(arguments, name, None)) for name in ("json", "csv", "html"))
    written = {flag: path for flag, path in asked if path is not None}
    for flag, path in written.items():
        make_room_for(path)
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            raise UsageError(f"{flag}: {path} is an image, which would be overwritten; name another file")
    read = {
        "--tags": getattr(arguments, "tags", None),
        "the ground truth of --dataset": split_file(dataset.folder, dataset.split),
    }
    pairs = *itertools.combinations(written.items(), 2), *itertools.product(written.items(), read.items())
    for (one, path), (other, same) in pairs:
        is_device = path.exists() and not path.is_file()  # such as /dev/null, which takes everything
        if same and not is_device and path.resolve() == same.resolve():
            raise UsageError(f"{one} and {other} are the same file, {path}; name another one")


@contextmanager
def _scored(arguments: argparse.Namespace, dataset: Dataset, task: Task) -> Iterator[Segmenter | Cluster | Predictions]:
    """Yield the model that is scored, or the label maps that are scored in its place."""
    if arguments.predictions is not None:
        yield open_predictions(arguments.predictions, dataset, task)
        return
    with start_network(arguments) as network:
        yield network


def open_predictions(folder: str | Path, dataset: Dataset, task: Task) -> Predictions:
    """Find the label maps of the dataset's photographs, which have the names that `--save-labels` gives them."""
    from ..evaluation.predictions import Predictions

    predictions = Predictions(folder, label_stems(dataset), task)
    if notice := predictions.maps.notice(task):
        print(f"segcore: {notice}", file=sys.stderr)
    return predictions


def refuse_network_options(arguments: argparse.Namespace, because: str) -> None:
    """Raise UsageError for options that ask something of a network, since label maps are scored."""
    given = [flag for flag, (name, default) in _OF_NETWORKS.items() if getattr(arguments, name, default) != default]
    if given:
        raise UsageError(f"{because}: label maps are scored as they are, without a network; leave {given[0]} out")


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
    if not dataset.images:
        raise AnnotationError(f"{split_file(dataset.folder, dataset.split)} holds no images, so nothing can be scored")
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
    stems = label_stems(run.dataset)

    def keep(sample: Sample) -> None:
        stem = stems[sample.image.file_name]
        if arguments.save_labels:
            with atomic_write(arguments.save_labels / f"{stem}.png") as file:
                Image.fromarray(sample.prediction).save(file, pnginfo=described(run.caption(sample.image)))
        if arguments.figures:
            with atomic_write(arguments.figures / f"{stem}.png") as file:
                file.write_bytes(sample.figure(run))

    return keep if arguments.save_labels or arguments.figures else None
