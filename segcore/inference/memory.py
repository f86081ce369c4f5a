"""How glibc hands out memory, set for networks, whose large tensors come and go; other C libraries are left alone."""

from __future__ import annotations

import ctypes
import platform

_ARENAS = 2  # places that threads take memory from; glibc would make eight for each core, each with holes of its own
_LARGE = 32 * 1024 * 1024  # bytes, the most that glibc takes; what is larger has pages of its own, and gives them back
_KEPT = 1024 * 1024 * 1024  # bytes that may lie free at the end of an arena
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h


def keep_pages() -> None:
    """From now on keep what is freed for what is needed next.

    Else each large tensor gets new pages, which the system fills with zeros first.
    """
    if libc := _glibc():
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Hand all free pages to the system, from amid those in use too."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
