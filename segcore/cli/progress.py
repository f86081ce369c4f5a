"""Progress on stderr: a bar on a terminal, or a line every 30 seconds if stderr is a file."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tqdm import tqdm

LINE_EVERY = 30.0  # seconds


@contextmanager
def progress_bar(label: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield the callback progress(done, total) for segcore's long functions. unit: "B" is bytes."""
    started = told = time.monotonic()
    with tqdm(desc=label, unit=unit, unit_scale=unit == "B", disable=None) as bar:

        def update(done: int, total: int | None) -> None:
            nonlocal told
            bar.total = total
            bar.update(done - bar.n)
            now = time.monotonic()
            if bar.disable and done != total and now - told >= LINE_EVERY:
                told = now
                print(f"segcore: {_how_far(label, unit, done, total, now - started)}", file=sys.stderr)

        yield update


def _how_far(label: str, unit: str, done: int, total: int | None, seconds: float) -> str:
    scale, plural = (1e6, "MB") if unit == "B" else (1, f"{unit}s")
    of = f" of {total / scale:,.0f}" if total else ""
    minutes = math.ceil(seconds / done * (total - done) / 60) if total and done else None
    left = f", about {minutes:,} min left" if minutes else ""
    return f"{label}: {done / scale:,.0f}{of} {plural}{left}"


@contextmanager
def stage_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield the callback progress(stage, done, total) for functions with stages. Each stage has its own bar."""
    from ..truth.fetch_job import ANNOTATIONS

    with ExitStack() as current:
        shown = ""
        show: Callable[[int, int | None], None]

        def update(stage: str, done: int, total: int | None) -> None:
            nonlocal shown, show
            if stage != shown:
                current.close()
                show = current.enter_context(progress_bar(stage, "B" if stage == ANNOTATIONS else "image"))
                shown = stage
            show(done, total)

        yield update
