"""What may come of any input: an answer, or one of segcore's own errors in words for a person; nothing else."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from segcore.errors import SegcoreError

# What only programmers know; a person who reads it has been told nothing.
INTERNALS = re.compile(
    r"Traceback|\b\w+(Error|Exception|Warning)\b|object at 0x|<class|NoneType|codec|unhashable|recursion|"
    r"\bsys\.|numpy|torch\.|not supported between|positional argument|has no attribute|\w\.py\b|no memory|more memory|"
    r"(?<!['\w])__[a-z]\w*__"  # not after a quotation mark (user input), nor in the name of a temporary folder
)
_OURS = [Path(__file__).parents[2] / package for package in ("segcore", "demo")]  # what is installed is not
_LONGEST = 1000  # characters of one line of a message


@dataclass(frozen=True)
class Target:
    """One thing to fuzz: `cases` are hypothesis's, or, where a case is the bytes of a file, atheris's too.

    check(case): raises for a finding. seeds: files that atheris begins with. uses_page: it needs a page that runs.
    smoke: how many examples the tests try.
    """

    name: str
    cases: SearchStrategy
    check: Callable[[Any], None]
    seeds: Callable[[], list[bytes]] | None = None
    uses_page: bool = False
    smoke: int = 30

    def property(self, **chosen: Any) -> Callable[[], None]:
        """What hypothesis runs, with these of its settings; raises the smallest case that it finds to fail."""
        quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
        return settings(**quiet, **chosen)(given(self.cases)(self.check))


def refusal(function: Callable[..., Any], *arguments: Any, **options: Any) -> SegcoreError | None:
    """Call the function for a refusal alone: None where it answers."""
    return attempted(function, *arguments, **options)[1]


def attempted(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, SegcoreError | None]:
    """The function's answer, or its refusal, which must be a sentence. Whatever else it raises is a finding."""
    with no_warnings():
        try:
            return function(*arguments, **options), None
        except SegcoreError as error:
            check_sentence(str(error))
            return None, error


@contextmanager
def no_warnings() -> Iterator[None]:
    """A warning about our own lines is a finding: it lands in a person's terminal, or in the page's log.

    Pillow's about odd metadata are not: to silence them is a setting of the whole process, which is not a library's.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    ours = [each for each in caught if any(Path(each.filename).is_relative_to(folder) for folder in _OURS)]
    assert not ours, [f"{each.category.__name__}: {each.message} ({each.filename}:{each.lineno})" for each in ours]


def check_sentence(text: str) -> None:
    """Fit to be read by a person in a terminal or on a page."""
    text.encode("utf-8")
    assert text.strip(), "an error without a message"
    for line in text.split("\n"):
        assert len(line) <= _LONGEST, f"a line of {len(line):,} characters: {line[:200]}"
        assert line.isprintable(), f"not printable: {line!r}"
    internal = INTERNALS.search(text)
    assert internal is None, f"it names {internal[0]!r}: {text}"
