"""Keeps the page's memory from growing: what is free goes back to the system now and then, which glibc seldom does."""

from __future__ import annotations

import threading
import time

from demo.server.decoding import DECODERS
from segcore.inference import memory

_EVERY = 5.0  # seconds


def keep_compact() -> None:
    """From now on, for as long as the process lives."""
    memory.keep_pages()
    threading.Thread(target=_give_back_for_ever, name="give memory back", daemon=True).start()


def _give_back_for_ever() -> None:
    while True:
        time.sleep(_EVERY)
        DECODERS.renew()
        memory.give_back()
