"""Runs the benchmarks of speed and agreement one after the other. Writes Markdown tables, and charts of some of them.

    python -m benchmarks --coco DIR --split SPLIT [--out docs] [--keep DIR]

Writes OUT/benchmarks.md and OUT/benchmarks.png. Takes a quarter of an hour on an idle machine. With --keep, the output
of each benchmark is kept in DIR, and a benchmark whose output is there is not run again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt

from segcore.models import catalogue

BIG, SMALL = catalogue.PREFERRED, catalogue.SHIPPED
COMMANDS = (
    f"engines --model {BIG}",
    f"engines --model {SMALL} --repeats 20 {{data}}",
    "page",
    "visitors",
    "flops",
)


class Panel(NamedTuple):
    """A table to draw.

    table: its place in the command's output, -1 for the last. title: the meaning of its first column of numbers.
    """

    command: str
    table: int
    title: str


PANELS = (
    Panel(COMMANDS[0], 0, "ResNet-101, one image of 520 x 520: seconds"),
    Panel(COMMANDS[1], 0, "The small model, likewise: seconds"),
    Panel("page", 0, "Starting the page: seconds"),
    Panel("page", -1, "The page's answers, photograph of 12 megapixels: seconds"),
)


def tables(text: str) -> list[dict[str, float]]:
    """Return, for each Markdown table with numbers in the second column, these numbers by the first column."""
    found: list[dict[str, float]] = [{}]
    for line in text.splitlines():
        cells = (
            [cell.replace("`", "").strip(" *") for cell in line.strip("|").split("|")] if line.startswith("|") else []
        )
        number = re.fullmatch(r"-?\d+(\.\d+)?", cells[1]) if len(cells) > 1 else None
        if number:
            found[-1][cells[0]] = float(number[0])
        elif not line and found[-1]:
            found.append({})
    return [each for each in found if each]


def draw(outputs: dict[str, str], path: Path) -> None:
    """Draw bars for each of PANELS, one below the other."""
    drawn = [(panel.title, tables(outputs[panel.command])[panel.table]) for panel in PANELS]
    heights = [len(rows) + 1 for _, rows in drawn]
    figure, axes = plt.subplots(len(drawn), figsize=(9, 0.34 * sum(heights)), height_ratios=heights)
    for axis, (title, rows) in zip(axes, drawn, strict=True):
        bars = axis.barh(list(rows), list(rows.values()), color="#4f46e5")
        axis.bar_label(bars, fmt=" %.3g")
        axis.invert_yaxis()
        axis.set_title(title, loc="left", fontsize="medium")
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.set_xticks([])
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--coco", type=Path, required=True, metavar="DIR", help="images with their truth")
    parser.add_argument("--split", default="val2017", help="of these images (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="DIR")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="for what each benchmark said")
    arguments = parser.parse_args()
    outputs, parts = {}, ["# Benchmarks\n\n`python -m benchmarks` wrote this file; each part names its machine.\n"]
    for command in COMMANDS:
        shown = command.format(data=f"--coco DIR --split {arguments.split}")
        print(f"\npython -m benchmarks.{shown}", flush=True)
        data = ["--coco", str(arguments.coco), "--split", arguments.split]
        words = [part for word in command.split() for part in (data if word == "{data}" else [word])]
        kept = arguments.keep and arguments.keep / f"{command.replace(' {data}', '').replace(' ', '_')}.txt"
        if kept and kept.is_file():
            output = kept.read_text(encoding="utf-8")
        else:
            run = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:]], stdout=subprocess.PIPE, text=True
            )
            if run.returncode:
                print(run.stdout)
                return run.returncode
            output = run.stdout
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(output, encoding="utf-8")
        print(output, flush=True)
        outputs[command] = output
        parts.append(f"## `python -m benchmarks.{shown}`\n\n{output.strip()}\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "benchmarks.md").write_text("\n".join(parts), encoding="utf-8")
    draw(outputs, arguments.out / "benchmarks.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
