"""Returns the page's free memory to the system regularly. glibc rarely does, and the page's memory would grow."""

from __future__ import annotations

import threading
import time

from demo.server.decoding import DECODERS
from segcore.inference import memory

_EVERY = 5.0  # seconds


def keep_compact() -> None:
    """Start to return free memory regularly, until the process ends."""
    memory.keep_pages()
    threading.Thread(target=_give_back_for_ever, name="give memory back", daemon=True).start()


def _give_back_for_ever() -> None:
    while True:
        time.sleep(_EVERY)
        DECODERS.renew()
        memory.give_back()
