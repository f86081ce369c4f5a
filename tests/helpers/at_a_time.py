"""How many do something at a time."""

from __future__ import annotations

import threading


class AtATime:
    """Entered by whoever is at it; `most` were within at a time."""

    def __init__(self) -> None:
        self.most = self._within = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._within += 1
            self.most = max(self.most, self._within)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
