"""`segcore compare`: two models scored on the same images."""

from __future__ import annotations

import argparse

from ..errors import UsageError
from ..files.atomic import write_json, write_text
from .arguments import add_scoring_arguments, add_task_arguments, model_name
from .common import categories_of, load_segmenter, make_room_for
from .evaluate import left_out, what_to_evaluate
from .progress import progress_bar


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--models", type=_models, required=True, metavar="A,B", help="two of the catalogue's")
    add_scoring_arguments(command)
    add_task_arguments(command, precision="float32")


def _models(text: str) -> list[str]:
    return [model_name(name) for name in text.split(",")]


def run(arguments: argparse.Namespace) -> int:
    """Score two models on the same images; prints the paired differences with their intervals."""
    from ..evaluation import compare as comparison
    from ..evaluation import evaluate as evaluation
    from ..report import headlines

    names = arguments.models
    if len(names) != 2:
        raise UsageError(f"--models takes two models with a comma between them, got {','.join(names)!r}")
    if categories_of(names[0]) != categories_of(names[1]):
        raise UsageError(f"{names[0]} and {names[1]} tell different things apart, so they cannot be compared")
    task, images, dataset, chosen, wrong = what_to_evaluate(arguments, names[0])
    for file in filter(None, (arguments.json, arguments.html)):
        make_room_for(file)
    outcomes = []
    for place, name in zip(("first", "second"), names, strict=True):
        run = evaluation.Run(load_segmenter(arguments, name), dataset, chosen, task, images, arguments.batch_size)
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
    return left_out(outcomes[0].to_dict()["skipped"], wrong)
