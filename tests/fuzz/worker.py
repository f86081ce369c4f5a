"""Fuzzes one target in a process of its own, which a crash or a hang may end: `python -m tests.fuzz.worker ...`."""

from __future__ import annotations

import argparse
import faulthandler
import pickle
import resource
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import seed

HANGS_AFTER = 60  # seconds of a case; a machine that does other things too is slow
SLOW_FROM = 10  # seconds of the processor
MEMORY = 2 * 2**30  # bytes beyond what the process has to begin with
_ROUND = 50  # examples


def main() -> None:
    """Ends with a status but 0 for a finding; its case is in the folder: last_case, pickled, or as atheris keeps it."""
    parser = argparse.ArgumentParser()
    for name, kind in (("target", str), ("engine", str), ("seconds", float), ("seed", int), ("folder", Path)):
        parser.add_argument(name, type=kind)
    asked = parser.parse_args()
    faulthandler.enable()
    if asked.engine == "atheris":
        _run_atheris(asked.target, asked.seconds, asked.seed, asked.folder)
    else:
        _run_hypothesis(asked.target, asked.seconds, asked.seed, asked.folder)


def _run_hypothesis(name: str, seconds: float, first_seed: int, folder: Path) -> None:
    from tests.fuzz.page import asked_page
    from tests.fuzz.targets import TARGETS
    from tests.helpers.page_server import running_page

    started, examples, target = time.monotonic(), 0, TARGETS[name]

    def check(case: Any) -> None:
        nonlocal examples
        examples += 1
        (folder / "last_case").write_bytes(pickle.dumps(case))
        _guarded(target.check, case)

    with running_page() if target.uses_page else nullcontext() as page, asked_page(page) if page else nullcontext():
        if not page:
            _limit_memory()
        round_number = first_seed
        while time.monotonic() - started < seconds:
            seed(round_number)(replace(target, check=check).property(max_examples=_ROUND))()
            round_number += 1
    print(f"{name}: {examples:,} examples of hypothesis in {time.monotonic() - started:.0f} s")


def _guarded(check: Callable[[Any], None], case: Any) -> None:
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
    started = time.process_time()
    try:
        check(case)
    finally:
        faulthandler.cancel_dump_traceback_later()
    spent = time.process_time() - started
    assert spent < SLOW_FROM, f"it took {spent:.1f} s of the processor"


def _limit_memory() -> None:
    """What takes more memory gets none, and says so, which the oracle takes for a finding."""
    statistics = Path("/proc/self/statm")
    if statistics.is_file():
        size = int(statistics.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))


def _run_atheris(name: str, seconds: float, first_seed: int, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["segcore", "PIL", "json"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, content in enumerate(target.seeds()):
        (corpus / f"{number:03}").write_bytes(content)
    flags = {"max_total_time": round(seconds), "seed": first_seed + 1, "timeout": HANGS_AFTER, "max_len": 4096}
    flags |= {"rss_limit_mb": 4096, "artifact_prefix": f"{folder}/", "verbosity": 1, "print_final_stats": 1}
    atheris.Setup([sys.argv[0], *(f"-{flag}={value}" for flag, value in flags.items()), str(corpus)], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
