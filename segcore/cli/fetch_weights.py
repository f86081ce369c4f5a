"""`segcore fetch-weights`: the published weights of one model."""

from __future__ import annotations

import argparse

from ..models import catalogue
from .arguments import model_name
from .common import DONE
from .progress import progress_bar


def add_arguments(command: argparse.ArgumentParser) -> None:
    names = ", ".join(catalogue.CATALOGUE)
    command.add_argument("name", type=model_name, metavar="NAME", help=f"hf:USER/NAME, or one of: {names}")
    command.add_argument("--base-url", metavar="URL", help="a mirror: URL/<the published file's name>")


def run(arguments: argparse.Namespace) -> int:
    """Download the weights of one model, or continue an earlier download."""
    from ..models.loading import fetch_weights as fetch

    with progress_bar(arguments.name, "B") as progress:
        path = fetch(arguments.name, base_url=arguments.base_url, progress=progress)
    print(path)
    return DONE
