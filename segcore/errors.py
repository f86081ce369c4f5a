"""The exceptions of segcore. Every message says what was wrong and what to do next."""

import reprlib
from typing import Any

_LONGEST = 100  # maximum length, in characters, of a value quoted in a message
_MOST_PROBLEMS = 20  # maximum number of problems listed in one message


def shown(value: Any) -> str:
    """Return a wrong value as a message quotes it: on one line, and shortened if it is large or deeply nested."""
    text = reprlib.repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def told(problems: list[str]) -> str:
    """Join several problems into one message with one line per problem, and the number of those left out."""
    more = len(problems) - _MOST_PROBLEMS
    return "\n".join(problems[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else []))


class SegcoreError(Exception):
    """Base class of all errors of segcore. The text can be shown to a user as it is."""


class UsageError(SegcoreError, ValueError):
    """A name or setting is unknown or invalid. The message lists the valid ones."""


class ImageError(SegcoreError, ValueError):
    """A file is not a readable image, or is too large."""


class AnnotationError(SegcoreError, ValueError):
    """Ground truth is missing or broken. The message names the label map, or COCO's file, record and field."""


class LabelError(SegcoreError, ValueError):
    """Label maps cannot be compared: their shapes or types differ, or a value is no class."""


class WeightsError(SegcoreError):
    """Weights are not on disk, or are not the file that was published under that name."""


class DeviceMemoryError(SegcoreError):
    """The device that runs the network has too little memory for even one image."""


class DownloadError(SegcoreError):
    """A download failed after all retries. The bytes received so far are kept if the download can be resumed.

    `status` is the HTTP status, such as 404, if that made the download fail; else None.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class NoRoomError(DownloadError):
    """A download does not fit: the disk is full, or the allowed size would be exceeded."""


class ClusterError(SegcoreError):
    """A Ray cluster cannot be reached, its workers cannot be started, or they would compute different results.

    Also: a process that reads photographs beside the network was killed.
    """


class Cancelled(SegcoreError):
    """The caller asked to stop. Work that was finished before is kept."""
