"""Keeps the page's memory from growing in pieces: free memory goes back to the system, which else glibc keeps."""

from __future__ import annotations

import ctypes
import platform
import threading
import time

_ARENAS = 2  # places that threads take memory from; glibc would make eight for each core, each with holes of its own
_LARGE = 4 * 1024 * 1024  # bytes; what is larger has pages of its own, which go back at once
_EVERY = 5.0  # seconds
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of malloc.h


def keep_compact() -> None:
    """From now on, where the C library is glibc; others do so by themselves."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_ARENA_MAX, _ARENAS)
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
    threading.Thread(target=_give_back_for_ever, args=(libc,), name="give memory back", daemon=True).start()


def _give_back_for_ever(libc: ctypes.CDLL) -> None:
    while True:
        time.sleep(_EVERY)
        libc.malloc_trim(0)
