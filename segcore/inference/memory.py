"""Tunes glibc's memory allocator for networks, which allocate and free large tensors. Does nothing without glibc."""

from __future__ import annotations

import ctypes
import platform

_ARENAS = 2  # glibc would make up to eight arenas per core, and each becomes fragmented
_LARGE = 32 * 1024 * 1024  # bytes, glibc's maximum; larger allocations have their own pages, which free() returns
_KEPT = 1024 * 1024 * 1024  # bytes that may stay free at the end of an arena
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # constants of malloc.h


def keep_pages() -> None:
    """Keep freed memory for the next allocations.

    Otherwise each large tensor gets new pages, and the system must fill them with zeros first.
    """
    if libc := _glibc():
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Return all free pages to the system, also those between pages in use."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
