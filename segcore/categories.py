"""The classes of a model: VOC's 21, or the categories of the dataset that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .classes import (
    ANY_OBJECT,
    BACKGROUND,
    CLASSES,
    FRIENDLY_NAMES,
    IGNORE_INDEX,
    SCREEN_PALETTE,
    VOC_NAMES,
    folded,
    is_text,
)
from .errors import UsageError, shown

MOST = IGNORE_INDEX  # maximum number of classes, background included: a label and 255 (ignored) must fit one byte


@dataclass(frozen=True)
class Categories:
    """The classes of a model's logits, in order. Class 0 is the background.

    names: names in files and on the command line. friendly: names shown to people. also: for each class, further
    names that datasets and people use. Raises UsageError if names are missing, too many, or used by two classes.
    """

    names: tuple[str, ...]
    friendly: tuple[str, ...]
    also: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.names) <= MOST:
            raise UsageError(
                f"expected from 1 to {MOST - 1} categories beside the background, got {len(self.names) - 1}"
            )
        if not len(self.names) == len(self.friendly) == len(self.also):
            raise UsageError("expected as many friendly and other names as there are names of categories")
        owners: dict[str, int] = {}
        for number, names in enumerate(zip(self.names, self.friendly, strict=True)):
            for name in (*names, *self.also[number]):
                if not is_text(name):
                    raise UsageError(f"the name of a category must be a text, not {shown(name)}")
                if folded(name) == ANY_OBJECT:
                    raise UsageError(f"no category can be called {name!r}, which stands for any object; rename it")
                if owners.setdefault(folded(name), number) != number:
                    raise UsageError(f"two categories are called {name!r}; give each a name of its own")

    @classmethod
    def of(cls, *objects: str) -> Categories:
        """Make categories of the background and one class for each name."""
        names = (VOC_NAMES[BACKGROUND], *objects)
        return cls(names, names, ((),) * len(names))

    @classmethod
    def any_of(cls, objects: tuple[str, ...], name: str = "object") -> Categories:
        """Make two categories: the background, and one class `name` that stands for all names in `objects`."""
        names = (VOC_NAMES[BACKGROUND], name)
        return cls(names, names, ((), objects))

    def __len__(self) -> int:
        return len(self.names)

    def number(self, name: str) -> int | None:
        """Return the number of the class called `name`, or None. Case, spaces and underscores do not matter."""
        return self._numbers.get(folded(name))

    def class_id(self, name: str | int) -> int:
        """Return the number of a class. `name` is one of its names, or the number itself.

        Raises UsageError, which lists the known names, for anything else.
        """
        if isinstance(name, str):
            number = self.number(name)
            if number is not None:
                return number
        elif isinstance(name, int | np.integer) and 0 <= name < len(self):
            return int(name)
        raise UsageError(f"there is no class {name!r}; choose one of: {', '.join(self.names)}")

    def object_id(self, name: str | int) -> int | None:
        """Return the number of the foreground class in binary mode (1 or more), or None for "any" object.

        Raises UsageError for an unknown name and for the background, which is no object.
        """
        if isinstance(name, str) and folded(name) == ANY_OBJECT:
            return None
        number = self.class_id(name)
        if number == BACKGROUND:
            choices = ", ".join(self.names[1:])
            raise UsageError(f"the background is no object; choose {ANY_OBJECT!r} or one of: {choices}")
        return number

    @property
    def screen_palette(self) -> np.ndarray:
        """The colours of overlays by class number: uint8 (256, 3)."""
        return screen_palette(len(self))

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        called = zip(self.names, self.friendly, self.also, strict=True)
        return {
            folded(each): number
            for number, (name, friendly, also) in enumerate(called)
            for each in (name, friendly, *also)
        }


def screen_palette(count: int) -> np.ndarray:
    """Return the colours of `count` classes in overlays and charts, uint8 (256, 3). They repeat after 20 objects."""
    palette, objects = SCREEN_PALETTE.copy(), len(CLASSES) - 1
    for number in range(len(CLASSES), count):
        palette[number] = SCREEN_PALETTE[1 + (number - 1) % objects]
    return palette


VOC = Categories(VOC_NAMES, FRIENDLY_NAMES, tuple((each.coco,) for each in CLASSES))
