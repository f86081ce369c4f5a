"""`segcore compare`: two models, or label maps of other programs, scored on the same images."""

from __future__ import annotations

import argparse
import os

from ..errors import UsageError
from ..files.atomic import write_json, write_text
from ..models.catalogue import AUTO, CATALOGUE
from .arguments import add_scoring_arguments, add_task_arguments, model_name
from .common import categories_of, load_segmenter
from .evaluate import check_files, left_out, open_predictions, refuse_network_options, what_to_evaluate
from .progress import progress_bar


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--models", type=_models, required=True, metavar="A,B", help="models, or folders of label maps"
    )
    add_scoring_arguments(command)
    add_task_arguments(command, precision="float32")


def _models(text: str) -> list[str]:
    return [model_name(name) for name in text.split(",")]


def run(arguments: argparse.Namespace) -> int:
    """Score two models or folders of label maps on the same images; prints paired differences with intervals."""
    from ..evaluation import compare as comparison
    from ..evaluation import evaluate as evaluation
    from ..report import headlines

    names = arguments.models
    if len(names) != 2:
        raise UsageError(f"--models takes two models or folders with a comma between them, got {','.join(names)!r}")
    models = [name for name in names if not _is_folder(name)]
    if len(models) == 0:
        refuse_network_options(arguments, "--models names two folders")
    if len(models) == 1 and arguments.threshold is not None:
        raise UsageError("--threshold needs probabilities, which label maps do not hold; leave it out")
    if len(models) == 2 and categories_of(names[0]) != categories_of(names[1]):
        raise UsageError(f"{names[0]} and {names[1]} tell different things apart, so they cannot be compared")
    task, images, dataset, chosen, wrong = what_to_evaluate(arguments, models[0] if models else AUTO)
    check_files(arguments, dataset)
    outcomes = []
    for place, name in zip(("first", "second"), names, strict=True):
        scored = open_predictions(name, dataset, task) if _is_folder(name) else load_segmenter(arguments, name)
        run = evaluation.Run(scored, dataset, chosen, task, images, arguments.batch_size)
        resume = arguments.resume and arguments.resume / place
        with progress_bar(name, "image") as progress:
            processes = evaluation.processes_beside(run.segmenter.device, len(images))
            outcomes.append(evaluation.evaluate(run, resume=resume, progress=progress, processes=processes))
    record = comparison.compare(*outcomes)
    if arguments.json:
        write_json(arguments.json, record)
    if arguments.html:
        from ..report.html import html_report
        from ..report.origins import thumbnails

        second = outcomes[1].to_dict()
        copies = thumbnails(dataset, second)
        write_text(arguments.html, html_report(second, thumbnails=copies, comparison=record))
    print(headlines.of_comparison(record))
    every = [each for outcome in outcomes for each in outcome.skipped]
    return left_out(list({(each["image_id"], each["reason"]): each for each in every}.values()), wrong)


def _is_folder(name: str) -> bool:
    """Whether it is a folder of label maps. A model of the catalogue has priority over a folder of its name."""
    return name not in (AUTO, *CATALOGUE) and os.path.isdir(name)
