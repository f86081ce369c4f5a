"""Everything that segcore raises on purpose; each message says what was wrong and what to do next."""

import reprlib
from typing import Any

_LONGEST = 100  # characters of a value in a message
_MOST_PROBLEMS = 20  # of a file that are told at once


def shown(value: Any) -> str:
    """A wrong value as a message quotes it, on one line and cut short however large or nested it is."""
    text = reprlib.repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def told(problems: list[str]) -> str:
    """Several problems as one message: a line each, and how many more there are."""
    more = len(problems) - _MOST_PROBLEMS
    return "\n".join(problems[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else []))


class SegcoreError(Exception):
    """Base of all of segcore's own errors; its text is fit to be shown to a person."""


class UsageError(SegcoreError, ValueError):
    """A name or a setting that does not exist or does not fit; the message lists what does."""


class ImageError(SegcoreError, ValueError):
    """A file that is not a readable image, or is larger than can be handled."""


class AnnotationError(SegcoreError, ValueError):
    """Ground truth that is absent or broken: names COCO's file, record and field, or the label map."""


class LabelError(SegcoreError, ValueError):
    """Label maps that cannot be compared: other shapes, other types, values outside the classes."""


class WeightsError(SegcoreError):
    """Weights that are not on disk, or are not what was published under their name."""


class DeviceMemoryError(SegcoreError):
    """A graphics card, or what else the network runs on, has too little memory for even one image."""


class DownloadError(SegcoreError):
    """A download that failed for good; what had arrived is kept where resuming can help.

    `status` is the server's answer where that is what made it fail, as 404; else None.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class NoRoomError(DownloadError):
    """A download that does not fit: the disk is full, or would hold more than was allowed."""


class ClusterError(SegcoreError):
    """A Ray cluster that cannot be reached, or whose workers cannot be had or would not compute the same."""


class Cancelled(SegcoreError):
    """The caller asked to stop; what was finished before is kept."""
