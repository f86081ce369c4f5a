"""A network of the caller's own, with its categories and preprocessing, and functions by name that make one."""

from __future__ import annotations

import copy
import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..categories import VOC, Categories
from ..classes import BACKGROUND, folded
from ..errors import UsageError, shown
from .transforms import Preprocess


class Model:
    """A network of the caller's own. A factory, `--model module:function`, returns one.

    network: gives logits (N, channels, h', w') for a normalised float batch (N, 3, h, w), at any stride: as a tensor,
    as a dictionary with the key "out", or as an object with the attribute `logits`.
    categories: `Categories`, or names in the order of the channels. Channel 0 is the background, which may be left out
    of the names. If the network has no channel for the background, every pixel gets one of the names. One channel for
    one name is that name's logit, as for a sigmoid.
    transforms: the preprocessing. name: in results and files; by default that of the network's class.
    Raises UsageError for other types, and as `Categories` does.
    """

    temperature = None

    def __init__(
        self,
        network: nn.Module,
        categories: Categories | Sequence[str],
        transforms: Preprocess | None = None,
        name: str = "",
    ) -> None:
        if not isinstance(network, nn.Module):
            raise UsageError(f"expected a torch.nn.Module as network, got {type(network).__name__}")
        if not isinstance(transforms, Preprocess | None):
            raise UsageError(
                f"expected transforms=segcore.Preprocess(size=..., mean=..., std=...), got {type(transforms).__name__}"
            )
        if not isinstance(name, str):
            raise UsageError(f"expected a text as name, got {shown(name)}")
        self.network = network
        self.categories = _categories(categories)
        self.transforms = transforms or Preprocess()
        self.name = name or type(network).__name__

    def preprocess(self, resize: str) -> Preprocess:
        """Return the preprocessing for a resize. Raises UsageError for an unknown one."""
        return replace(self.transforms, resize=resize)

    def load(self) -> nn.Module:
        """Return a copy of the network: float32, in eval mode, on the CPU."""
        return copy.deepcopy(self.network).cpu().float().eval()

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of the names, types, shapes and values of the network's tensors, 64 hex digits.

        It is not cached, because the caller may train the network further.
        """
        digest = hashlib.sha256()
        for name, values in self.network.state_dict().items():
            if isinstance(values, torch.Tensor):
                digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
                digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def _categories(given: Any) -> Categories:
    if isinstance(given, Categories):
        return given
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise UsageError(f"expected the names of the categories, such as ['road', 'car'], got {shown(given)}")
    names = tuple(given)
    if names and isinstance(names[0], str) and folded(names[0]) == VOC.names[BACKGROUND]:
        names = names[1:]
    return VOC if names == VOC.names[1:] else Categories.of(*names)


@lru_cache(maxsize=4)
def made_by(factory: str) -> Model:
    """Import "module:function", call the function and return its model, named like the factory. It is called once.

    The current folder is searched last for modules.
    Raises UsageError if there is no such module or function, if either fails, or if the function returns no `Model`.
    """
    module_name, _, function_name = factory.partition(":")
    function = getattr(_imported(module_name), function_name, None)
    if not callable(function):
        raise UsageError(f"there is no function {function_name!r} in the module {module_name!r}")
    model = _run(function, f"the function {factory}")
    if not isinstance(model, Model):
        got = "nothing" if model is None else type(model).__name__
        raise UsageError(f"expected that {factory} returns segcore.Model(network, categories=[...]), got {got}")
    return Model(model.network, model.categories, model.transforms, factory)


def _imported(name: str) -> Any:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)  # it stays there: the network may import more when it runs
    importlib.invalidate_caches()

    def import_it() -> Any:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and f"{name}.".startswith(f"{error.name}."):
                raise UsageError(
                    f"there is no module {error.name!r}; install it, or run this in the folder that holds it"
                ) from None
            raise

    return _run(import_it, f"the module {name}")


def _run(code: Callable[[], Any], what: str) -> Any:
    """Run the user's own code. Raises UsageError, with the code's own message, if it fails."""
    try:
        return code()
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # it may raise anything
        raise UsageError(f"{what} failed: {failure(error)}") from error


def failure(error: BaseException) -> str:
    """Return an exception of the user's own code in one line: its type and its message."""
    text = " ".join(str(error).split())
    text = text if text.isprintable() else ascii(text)[1:-1]
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
