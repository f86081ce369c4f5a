"""What files a folder holds, and waiting until something has become true."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def becomes(condition: Callable[[], bool], seconds: float = 90) -> bool:
    """Whether it comes true within a time that no working machine needs."""
    end = time.monotonic() + seconds
    while not (done := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return done
