"""`segcore fetch-coco`: some images of COCO with their annotations."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .arguments import comma_separated
from .common import DONE, FAILED, make_folder
from .progress import stage_bars


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder, which gets COCO's layout")
    command.add_argument("--split", default="val2017", help="val2017 (default) or train2017")
    command.add_argument("--count", type=int, required=True, metavar="N", help="how many images")
    command.add_argument(
        "--classes", type=comma_separated, default=(), metavar="cat,dog", help="only images with any of these"
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="S", help="the same seed chooses the same images; default 0"
    )
    command.add_argument("--base-url", metavar="URL", help="a mirror: URL/annotations/..., URL/<split>/...")
    command.add_argument(
        "--max-gb", type=float, default=4.0, metavar="GB", help="maximum size of DIR on disk; default 4"
    )


def run(arguments: argparse.Namespace) -> int:
    """Download some images of COCO with their annotations, or continue an earlier download."""
    from ..truth.fetch_coco import fetch_coco as fetch

    make_folder(arguments.to)
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
