"""Fuzzes all targets, or one, for some minutes: `python -m tests.fuzz --minutes 30 [--target NAME]`.

hypothesis makes the cases; atheris, where it is installed, also mutates files while it watches which lines they reach.
Exit status: 0 where nothing was found, else 1, with the smallest case and what it raised.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
_GRACE = 600  # seconds for a process to start, and to end its last round, on a machine that does other things too
_NO_ATHERIS = "atheris is not installed, so hypothesis fuzzes alone; on Linux, `pip install atheris` adds it."


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="for all targets together; default 30")
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other cases; default 0")
    asked = parser.parse_args()
    with_atheris = importlib.util.find_spec("atheris") is not None
    if not with_atheris:
        print(_NO_ATHERIS)
    names = [asked.target] if asked.target else list(TARGETS)
    runs = [(name, "hypothesis") for name in names]
    runs += [(name, "atheris") for name in names if with_atheris and TARGETS[name].seeds]
    found = [run for run in runs if not _run(*run, 60 * asked.minutes / len(runs), asked.seed)]
    print(f"found: {', '.join(f'{name} ({engine})' for name, engine in found)}" if found else "nothing found")
    return 1 if found else 0


def _run(name: str, engine: str, seconds: float, seed: int) -> bool:
    """Whether the target stood it; what did not is told, and kept in a folder."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.worker", name, engine, str(seconds), str(seed)]
    with (folder / "log").open("w+", errors="replace") as log:
        process = subprocess.Popen([*command, str(folder)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            status = process.wait(seconds + _GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    said = (folder / "log").read_text(errors="replace")
    if status:
        print(f"{name}: {engine} ended with status {status}; the case is in {folder}\n{said[-6000:]}", flush=True)
        return False
    done = re.search(r"Done (\d+) runs in (\d+) second", said)
    told = f"{name}: {int(done[1]):,} runs of atheris in {done[2]} s" if done else said.splitlines()[-1]
    print(told, flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
