"""What the optional engines share: missing packages, networks cached on disk, and the comparison with PyTorch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import __version__
from ..errors import UsageError
from .any_network import AnyNetwork

Run = Callable[[Tensor], Tensor]
_SIDE = 64  # side, in pixels, of the tensor that a network is converted with; the result takes any size
_DIFFER = 0.05  # of the probability, on average over the pixels, for bfloat16 too; a wrong network differs more


def check_installed(what: str, packages: Sequence[str]) -> None:
    """Raise UsageError, with the command to install them, if packages are missing. what: what needs them."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{what} needs a package that is not installed here: pip install {' '.join(missing)}")


def example_size_hw(core: nn.Module) -> tuple[int, int]:
    """Return the height and width, in pixels, of a tensor that a core takes."""
    return core.size_hw if isinstance(core, AnyNetwork) else (_SIDE, _SIDE)


def cached_file(folder: str, suffix: str, core: nn.Module, *parts: str, packages: Sequence[str]) -> Path:
    """Return the path of a network in the cache, and make its folder.

    folder: below $XDG_CACHE_HOME/segcore, by default ~/.cache/segcore. parts: what the file depends on beside the
    core's tensors and layers and the versions of segcore and the packages.
    """
    versions = [__version__, *map(importlib.metadata.version, packages)]
    key = "-".join([sha256(core.state_dict().values()), repr(core), *versions, *parts])
    target = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segcore" / folder
    target.mkdir(parents=True, exist_ok=True)
    return target / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}{suffix}"


def sha256(tensors: Iterable[Tensor]) -> str:
    """Return the SHA-256 of the shapes and values of tensors, 64 hex digits."""
    digest = hashlib.sha256()
    for each in tensors:
        digest.update(str(each.shape).encode())
        digest.update(each.contiguous().numpy().data)
    return digest.hexdigest()


def sha256_of_code(core: nn.Module) -> str:
    """Return a hash of a core's logits for noise, which tells two versions of a caller's code apart."""
    with torch.no_grad():
        return sha256([core(_noise(example_size_hw(core)))])


def _noise(size_hw: tuple[int, int]) -> Tensor:
    return torch.randn(1, 3, *size_hw, generator=torch.Generator().manual_seed(0))


def check_equal(run: Run, core: nn.Module, engine: str) -> None:
    """Raise UsageError if an engine computes a core wrongly, as it may if the core's code depends on the size."""
    height, width = example_size_hw(core)
    for size_hw in ((height, width), (height, 2 * width)):
        noise = _noise(size_hw)
        try:
            with torch.no_grad():
                expected = core(noise)
        except UsageError:
            continue  # the network takes no other size
        try:
            got = run(noise)
            same = got.shape == expected.shape and _difference(got, expected) <= _DIFFER
        except Exception:  # each engine has exceptions of its own
            same = False
        if not same:
            raise UsageError(
                f"{engine} does not compute this network as PyTorch does, at {size_hw[1]} x {size_hw[0]} pixels; "
                "choose the engine 'torch'"
            )


def _difference(first: Tensor, second: Tensor) -> float:
    """Return the total variation distance between the probabilities, 0..1, on average over the pixels."""
    return (first.softmax(1) - second.softmax(1)).abs().sum(1).mean().item() / 2
