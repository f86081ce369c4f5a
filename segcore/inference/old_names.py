"""Python names that were replaced: the old ones work until version 0.2 and give a FutureWarning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def renamed_keyword(old: str, new: str) -> Callable[[F], F]:
    """Decorate a function so that it takes the keyword `new` under its old name too."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            if old in keywords:
                if new in keywords:
                    raise TypeError(f"{old}= is the old name of {new}=; give {new}= alone")
                _warn(f"{old}=", f"{new}=")
                keywords[new] = keywords.pop(old)
            return function(*args, **keywords)

        return call  # type: ignore[return-value]

    return decorate


def renamed_attribute(old: str, new: str) -> property:
    """A property that reads the attribute `new` under its old name."""

    def get(self: object) -> Any:
        _warn(old, new)
        return getattr(self, new)

    return property(get, doc=f"The old name of `{new}`.")


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now called {new}; the old name works until version 0.2", FutureWarning, stacklevel=3)
