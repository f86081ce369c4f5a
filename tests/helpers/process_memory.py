"""Looks for bytes in the memory of another process, which only Linux shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

PIECE = 2**26  # bytes that are read at a time


def in_memory(process: int, wanted: Mapping[str, bytes]) -> set[str]:
    """The names of what is found in the memory of a process."""
    overlap = max(map(len, wanted.values()), default=0)
    found = set()
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
        for line in maps:
            addresses, permissions, *_ = line.split()
            if not permissions.startswith("rw") or "[v" in line:
                continue
            start, end = (int(each, 16) for each in addresses.split("-"))
            for at in range(start, end, PIECE):
                try:
                    memory.seek(at)
                    piece = memory.read(min(PIECE + overlap, end - at))
                except OSError:  # given back meanwhile
                    continue
                found |= {name for name, trace in wanted.items() if trace in piece}
    return found


def with_children(process: int) -> Iterator[int]:
    """A process and all that it has started, and those have."""
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from with_children(int(child))
