"""Cases that are nearly right: files with some bytes changed, documents with some values exchanged."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_HEAD = 300  # bytes in which files keep what they say of themselves

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([-1, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1, 10**20, 10**400, 9 * 10**4299]),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.5, 480.0]),
    st.text(max_size=8),
    st.sampled_from(
        ["", "1", "nan", "any", "\0", "\ud800", "\x1b[31m", "\u202e", "../../x", "C:\\x", "person", "x" * 5000]
    ),
)
values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def mutated_bytes(draw: Any, seeds: Callable[[], Sequence[bytes]]) -> bytes:
    """One of the seeds with up to six changes: bits, numbers, parts left out, doubled, cut off or from another seed."""
    data = bytearray(draw(st.sampled_from(seeds())))
    for _ in range(draw(st.integers(0, 6))):
        reach = draw(st.sampled_from([len(data), min(_HEAD, len(data))]))
        place = draw(st.integers(0, reach))
        length = draw(st.integers(1, 40))
        match draw(st.integers(0, 6)):
            case 0:
                data[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                width, order = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from(["little", "big"]))
                number = draw(st.sampled_from(NUMBERS)) % 256**width
                data[place : place + width] = number.to_bytes(width, order)
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + length] * draw(st.sampled_from([1, 2, 50]))
            case 4:
                del data[place:]
            case 5:
                data[place:place] = draw(st.binary(max_size=12))
            case 6:
                other = draw(st.sampled_from(seeds()))
                start = draw(st.integers(0, len(other)))
                data[place : place + length] = other[start : start + length]
    return bytes(data)


@st.composite
def mutated_documents(draw: Any, seeds: Callable[[], Sequence[Any]]) -> Any:
    """One of the JSON documents with up to four values exchanged, left out or doubled."""
    document = [copy.deepcopy(draw(st.sampled_from(seeds())))]
    for _ in range(draw(st.integers(0, 4))):
        holder, key = draw(st.sampled_from(_places(document)))
        match draw(st.integers(0, 3)):
            case 0 if holder is not document:
                del holder[key]
            case 1 if isinstance(holder, list) and holder is not document:
                holder.insert(key, copy.deepcopy(holder[key]))
            case 2:
                holder[key] = copy.deepcopy(draw(st.sampled_from([held[place] for held, place in _places(document)])))
            case _:
                holder[key] = draw(values)
    return document[0]


def _places(document: list) -> list[tuple[Any, Any]]:
    """Everything that can be exchanged in a document, as (holder, key); of long lists the first few."""
    found, open_ones = [], [document]
    while open_ones:
        holder = open_ones.pop()
        keys = list(holder) if isinstance(holder, dict) else range(min(len(holder), 12))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                open_ones.append(holder[key])
    return found


@st.composite
def written_documents(draw: Any, seeds: Callable[[], Sequence[Any]]) -> bytes:
    """A mutated document as a file, in one of the encodings that programs save in, at times damaged or nested."""
    document = draw(mutated_documents(seeds))
    depth = draw(st.sampled_from([0, 0, 0, 0, 3, 100_000]))
    text = "[" * depth + json.dumps(document, ensure_ascii=draw(st.booleans())) + "]" * depth
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"]))
    data = text.encode(encoding, "surrogatepass")
    return draw(mutated_bytes(lambda: [data])) if draw(st.integers(0, 4)) == 0 else data
