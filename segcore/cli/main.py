"""The command line: predict, evaluate, compare, models, fetch-weights, fetch-coco, train.

Exit status: 0 done; 1 something of the input failed, each named on stderr and the rest done; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..categories import VOC, Categories
from ..errors import AnnotationError, SegcoreError, UsageError, told
from ..files.atomic import described, whole, write_json, write_text
from ..inference import memory
from ..inference.task import Task
from ..models import catalogue
from .arguments import parser
from .progress import progress_bar, stage_bars

if TYPE_CHECKING:
    from ..inference.segmenter import Segmentation
    from ..truth.dataset import Dataset

DONE, FAILED, WRONG_USAGE = 0, 1, 2
_TOLD_STEPS = 20  # between two lines of progress where stderr is no terminal


def main(argv: list[str] | None = None) -> int:
    """Run one command; `argv` is without the program's name. Returns the exit status."""
    _replace_closed_streams()
    try:
        arguments = parser(sys.modules["segcore"].__doc__, COMMANDS).parse_args(argv)
        memory.keep_pages()
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads has left; what is still to be written goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        return _complain(str(error), WRONG_USAGE)
    except (SegcoreError, OSError) as error:
        return _complain(_reason(error), FAILED)
    except KeyboardInterrupt:
        return _complain("stopped", FAILED)


def _replace_closed_streams() -> None:
    """Lead standard streams that the caller has closed to nowhere.

    Else a file that is opened next takes the number of one, and the complaints of C libraries go into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run this again"
    return str(error)


def _complain(message: str, status: int) -> int:
    print(f"segcore: {message}", file=sys.stderr)
    return status


# ------------------------------------------------------------------------------------------------ the commands


def predict(arguments: argparse.Namespace) -> int:
    """Segment files and folders of photographs into --out."""
    task = _task(arguments, arguments.model)
    files, problems = _image_files(arguments.input)
    stems = _output_stems(files)
    _make_folder(arguments.out)
    status = DONE
    for problem in problems:
        status = _complain(problem, FAILED)
    with _network(arguments) as network, progress_bar("predict", "image") as progress:
        problems = _predict_each(network, task, {path: arguments.out / stem for path, stem in stems.items()}, arguments)
        for done, (path, problem) in enumerate(zip(files, problems, strict=True), start=1):
            if problem:
                tqdm.write(f"segcore: {path}: {problem}", file=sys.stderr)
                status = FAILED
            progress(done, len(files))
    return status


def _predict_each(
    network, task: Task, targets: dict[Path, Path], arguments: argparse.Namespace
) -> Iterator[str | None]:
    """Write the results of each file beside its target; yield, in order, what was wrong with it.

    One photograph is written while the network looks at the next: writing takes a core for half as long as the network
    takes all of them. So two photographs are in memory.
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
            return None, _reason(error)

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
    """Write files by the ends of their names. Returns what went wrong."""
    try:
        for end, content in results.items():
            with whole(f"{target}{end}") as file:
                file.write_bytes(content)
    except OSError as error:
        return _reason(error)


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a model on images whose truth is known; prints the headline and writes what was asked for."""
    from ..evaluation import evaluate as evaluation
    from ..report import headlines

    task, images, dataset, chosen, wrong = _what_to_evaluate(arguments, arguments.model)
    for folder in filter(None, (arguments.figures, arguments.save_labels, arguments.resume)):
        _make_folder(folder)
    if arguments.figures and arguments.save_labels and arguments.figures.samefile(arguments.save_labels):
        raise UsageError("--figures and --save-labels give files of the same names; name two folders")
    for file in filter(None, (arguments.json, arguments.csv, arguments.html)):
        _make_room_for(file)
    with _network(arguments) as network:
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
    return _left_out(record["skipped"], wrong)


def _what_to_evaluate(arguments: argparse.Namespace, model: str) -> tuple:
    """The task, the images, their dataset, the protocol and what is wrong with the dataset beside single images.

    All is checked before anything heavy is loaded.
    """
    from ..evaluation.protocols import protocol
    from ..evaluation.run import choose_images

    task, chosen = _task(arguments, model), protocol(arguments.protocol)
    dataset, wrong = _open_dataset(arguments, task.categories)
    image_ids = None if arguments.image_ids is None else [dataset.id_of(text) for text in arguments.image_ids]
    images = choose_images(dataset, image_ids=image_ids, limit=arguments.limit)
    return task, images, dataset, chosen, wrong


def _open_dataset(arguments: argparse.Namespace, categories: Categories) -> tuple[Dataset, list[str]]:
    """The dataset, and with --skip-bad what is wrong with records that belong to none of its images.

    Raises AnnotationError for anything wrong without that flag, and where nothing is left with it.
    """
    from ..truth.layouts import open_dataset

    wrong: list[str] = []
    dataset = open_dataset(arguments.dataset, arguments.split, categories, wrong)
    every = [*wrong, *dataset.broken.values()]
    if every and not arguments.skip_bad:
        raise AnnotationError(f"{told(every)}\nmend this, or leave the images concerned out with --skip-bad")
    if wrong and not dataset.images:
        raise AnnotationError(f"{told(wrong)}\nno image is left to be scored")
    return dataset, wrong


def _left_out(skipped: list[dict], wrong: list[str]) -> int:
    """Name what was not scored: images, and records of a dataset that belong to none of its images."""
    for problem in wrong:
        print(f"segcore: left out: {problem}", file=sys.stderr)
    for each in skipped:
        print(f"segcore: image {each['image_id']} left out: {each['reason']}", file=sys.stderr)
    return FAILED if skipped or wrong else DONE


def compare(arguments: argparse.Namespace) -> int:
    """Score two models on the same images; prints the paired differences with their intervals."""
    from ..evaluation import compare as comparison
    from ..evaluation import evaluate as evaluation
    from ..report import headlines

    names = arguments.models
    if len(names) != 2:
        raise UsageError(f"--models takes two models with a comma between them, got {','.join(names)!r}")
    if _categories(names[0]) != _categories(names[1]):
        raise UsageError(f"{names[0]} and {names[1]} tell different things apart, so they cannot be compared")
    task, images, dataset, chosen, wrong = _what_to_evaluate(arguments, names[0])
    for file in filter(None, (arguments.json, arguments.html)):
        _make_room_for(file)
    outcomes = []
    for place, name in zip(("first", "second"), names, strict=True):
        run = evaluation.Run(_segmenter(arguments, name), dataset, chosen, task, images, arguments.batch_size)
        resume = arguments.resume and arguments.resume / place
        with progress_bar(name, "image") as progress:
            outcomes.append(evaluation.evaluate(run, resume=resume, progress=progress))
    record = comparison.compare(*outcomes)
    if arguments.json:
        write_json(arguments.json, record)
    if arguments.html:
        from ..report.html import html_report

        write_text(arguments.html, html_report(outcomes[1].to_dict(), comparison=record))
    print(headlines.of_comparison(record))
    return _left_out(outcomes[0].to_dict()["skipped"], wrong)


def _segmenter(arguments: argparse.Namespace, model: str | None = None):
    from ..inference.segmenter import Segmenter
    from ..report.words import calibrated

    segmenter = Segmenter(model or arguments.model, calibration=arguments.calibration, **_how(arguments))
    if measured := segmenter.calibration:
        print(f"segcore: {calibrated(measured.photographs, measured.agreement)}", file=sys.stderr)
    return segmenter


@contextmanager
def _network(arguments: argparse.Namespace) -> Iterator:
    """What runs the model: a `Segmenter` in this process, or the workers of a `Cluster`."""
    if arguments.ray is None and arguments.workers is None:
        yield _segmenter(arguments)
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


def _how(arguments: argparse.Namespace) -> dict[str, object]:
    """What a `Segmenter` and a `Cluster` are both told of the network's running."""
    names = "device", "precision", "resize", "engine", "careful", "refine"
    return {name: getattr(arguments, name) for name in names}


def _keep_samples(run, arguments: argparse.Namespace) -> Callable | None:
    """What to do with each newly scored image: save its label map, its figure, both or nothing."""
    from PIL import Image

    stems = _output_stems([Path(image.file_name) for image in run.images])

    def keep(sample) -> None:
        stem = stems[Path(sample.image.file_name)]
        if arguments.save_labels:
            with whole(arguments.save_labels / f"{stem}.png") as file:
                Image.fromarray(sample.prediction).save(file, pnginfo=described(run.caption(sample.image)))
        if arguments.figures:
            with whole(arguments.figures / f"{stem}.png") as file:
                file.write_bytes(sample.figure(run))

    return keep if arguments.save_labels or arguments.figures else None


def models(arguments: argparse.Namespace) -> int:
    """Print the catalogue: size, published scores, on disk or not."""
    from ..models.loading import facts

    print(f"{'name':32}{'size':>9}{'mean IoU':>10}{'accuracy':>10}  on disk")
    for name in catalogue.CATALOGUE:
        known = facts(name)
        scores = [f"{100 * score:.1f} %" if score else "-" for score in (known.mean_iou, known.pixel_accuracy)]
        here = "yes" if catalogue.on_disk(name) else "no"
        print(f"{name:32}{known.megabytes:6.1f} MB{scores[0]:>10}{scores[1]:>10}  {here}")
    print("\nScores as torchvision publishes them: COCO val2017, the 20 VOC classes, protocol torchvision, float32.")
    return DONE


def fetch_weights(arguments: argparse.Namespace) -> int:
    """Download the weights of one model, resuming what an earlier try left."""
    from ..models.loading import fetch_weights as fetch

    with progress_bar(arguments.name, "B") as progress:
        path = fetch(arguments.name, base_url=arguments.base_url, progress=progress)
    print(path)
    return DONE


def fetch_coco(arguments: argparse.Namespace) -> int:
    """Download some images of COCO with their annotations, or go on where an earlier try stopped."""
    from ..truth.fetch_coco import fetch_coco as fetch

    _make_folder(arguments.to)
    with stage_bars() as progress:
        fetched = fetch(
            arguments.to,
            arguments.split,
            count=arguments.count,
            classes=arguments.classes,
            seed=arguments.seed,
            base_url=arguments.base_url,
            max_bytes=arguments.max_gb * 1e9,
            progress=progress,
        )
    for name, reason in fetched.failed.items():
        print(f"segcore: {name}: {reason}", file=sys.stderr)
    if fetched.available < arguments.count:
        print(f"segcore: there are only {fetched.available} such images in {fetched.split}", file=sys.stderr)
    wanted = min(arguments.count, fetched.available)
    print(f"{len(fetched.ids)} of {wanted} images of {fetched.split} are in {fetched.folder}")
    return FAILED if fetched.failed else DONE


def train(arguments: argparse.Namespace) -> int:
    """Fine-tune a model on images whose truth is known; the result is one file, which --model takes."""
    from ..training.settings import StepDone, TrainSettings
    from ..training.train import train as run

    given = vars(arguments) | {"coco": arguments.dataset}
    chosen = {field.name: given[field.name] for field in fields(TrainSettings)}
    for name in ("pseudo", "scale", "truth", "incomplete_truth", "leave_out", "unlabelled"):
        chosen[name] = _tuples(chosen[name])
    settings = TrainSettings(**chosen)
    with tqdm(desc="train", unit="step", total=settings.steps, disable=None) as bar:

        def show(done: StepDone) -> None:
            bar.update(done.step - bar.n)
            bar.set_postfix_str(f"loss {done.loss:.3f}, mean IoU {done.mean_iou:.2f}", refresh=False)
            if done.validation_mean_iou is not None or (bar.disable and done.step % _TOLD_STEPS == 0):
                bar.write(done.line(), file=sys.stderr)

        with progress_bar("soft labels", "photograph") as looked_at:
            path = run(settings, resume=arguments.resume, on_step=show, on_soft_label=looked_at)
    print(path)
    return DONE


# ------------------------------------------------------------------------------------------------ their parts


def _tuples(values: Any) -> Any:
    """Lists, also within lists, as tuples; anything else as it is."""
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


def _task(arguments: argparse.Namespace, model: str) -> Task:
    task = Task(arguments.mode, arguments.class_name, arguments.threshold, _categories(model))
    if not task.binary and (task.object_id is not None or task.threshold is not None):
        raise UsageError("--class and --threshold ask for one class against all else; add --mode binary")
    return task


def _categories(model: str) -> Categories:
    """What the model tells apart; PyTorch is imported only to ask a trained model's file."""
    if not catalogue.is_file(model):
        return VOC
    from ..models.loading import categories

    return categories(model)


def _image_files(inputs: list[Path]) -> tuple[list[Path], list[str]]:
    """The named files, and of each folder the files that are called like images, in order and each once; and what is
    wrong with folders that give none.

    Raises UsageError where that leaves nothing. A named file that is not there fails later, by itself.
    """
    from ..imaging.reading import photographs_in

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


def _output_stems(files: list[Path]) -> dict[Path, str]:
    """What each file's outputs are called: its stem; where two share one, the whole name keeps them apart.

    Names that some disks take for one, as IMG and img, count as one.
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
    """What disks that tell neither cases nor ways of writing an accent apart take a name for."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _make_folder(path: Path) -> None:
    """Make a folder for results, with those above it. Raises UsageError where a file is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path} is not a folder, or lies in what is none; name another for the results") from None


def _make_room_for(path: Path) -> None:
    """See to it, before the work begins, that a file can be written in the end. Raises UsageError if it cannot."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    _make_folder(path.parent)


COMMANDS = {
    "predict": predict,
    "evaluate": evaluate,
    "compare": compare,
    "models": models,
    "fetch-weights": fetch_weights,
    "fetch-coco": fetch_coco,
    "train": train,
}
