"""Checks COCO's run-length encodings, because pycocotools does not."""

from __future__ import annotations

from typing import Any

from ..errors import shown

_MAX_RLE_DIGITS = 6  # digits of 5 bits: enough for any accepted number of pixels


def rle_problem(rle: dict[str, Any], height: int, width: int) -> str | None:
    """Return what is wrong with a run-length encoding of a mask of (height, width); None if it is valid."""
    size, counts = rle.get("size"), rle.get("counts")
    if size != [height, width]:
        return f"must be of the image's 'size', [{height}, {width}], not {shown(size)}"
    if isinstance(counts, str):
        runs = _runs_of_compressed(counts)
    elif isinstance(counts, list) and all(type(run) is int and run.bit_length() < 64 for run in counts):
        runs = counts
    else:
        runs = None
    if runs is None:
        return f"must hold 'counts', a list of integers or COCO's text for one, not {shown(counts)}"
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        return f"must hold 'counts' from 0 that add up to {height * width} pixels, not to {sum(runs)}"
    return None


def _runs_of_compressed(counts: str) -> list[int] | None:
    """Decode the run lengths of COCO's compressed RLE text; None if the text is invalid.

    Each number is little-endian with 5 bits per character, counted from "0"; the sixth bit says that more characters
    follow. From the fourth number on, the value is the difference to the run before the last (`rleFrString` in COCO's
    `maskApi.c`, which makes no checks).
    """
    runs: list[int] = []
    value = digits = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or digits == _MAX_RLE_DIGITS:
            return None
        value |= (bits & 31) << 5 * digits
        digits += 1
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << 5 * digits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = digits = 0
    return None if digits else runs
