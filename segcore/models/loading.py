"""Each model of the catalogue joined with its network, weights and preprocessing, and made ready to run.

It imports torch, which takes seconds, and for torchvision's models torchvision, which takes as long again; `catalogue`
answers what needs neither.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn

from ..categories import VOC, Categories
from ..classes import VOC_NAMES
from ..errors import WeightsError, shown
from ..files import download
from . import catalogue, checkpoint
from .architectures import deeplabv3_mobilenet_v2
from .catalogue import entry, on_disk, resolve
from .transforms import Preprocess

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

__all__ = [
    "Facts",
    "build_network",
    "categories",
    "facts",
    "fetch_weights",
    "load",
    "network_of",
    "on_disk",
    "preprocess_for",
    "resolve",
    "weights_path",
    "weights_sha256",
]


@dataclass(frozen=True)
class Facts:
    """What is published of a model's weights.

    `megabytes` (millions of bytes) is the file's size, nan for a shipped file that is missing. `mean_iou` and
    `pixel_accuracy`, 0..1, are torchvision's own on COCO val2017 with VOC's classes; None for the shipped
    model, whose scores are in its card in segcore/weights.
    """

    file: str
    megabytes: float
    mean_iou: float | None
    pixel_accuracy: float | None


def _published(name: str) -> WeightsEnum:
    """torchvision's entry of the model's weights, of a model whose catalogue entry has no path.

    Raises WeightsError if their classes are not segcore's, in the same order.
    """
    from torchvision.models import get_weight

    weights = get_weight(entry(name).torchvision_weights)
    classes = tuple(each.strip("_") for each in weights.meta["categories"])  # they say "__background__"
    if classes != VOC_NAMES:
        raise WeightsError(
            f"expected weights of {name} for the classes {', '.join(VOC_NAMES)}, got {', '.join(classes)}; "
            "install the version of torchvision that requirements.txt names"
        )
    return weights


def facts(name: str) -> Facts:
    """Size and published scores of a model, on disk or not. Raises UsageError for an unknown name."""
    if path := entry(name).path:
        return Facts(path.name, path.stat().st_size / 1e6 if path.is_file() else float("nan"), None, None)
    meta = _published(name).meta
    scores = meta["_metrics"]["COCO-val2017-VOC-labels"]
    mebibytes = meta["_file_size"]
    return Facts(weights_path(name).name, mebibytes * 2**20 / 1e6, scores["miou"] / 100, scores["pixel_acc"] / 100)


def weights_path(name: str) -> Path:
    """Where the model's weights are, or would be once fetched: torch.hub's folder, the package's own, or a path."""
    if path := entry(name).path:
        return path
    return catalogue.checkpoints_folder() / _published(name).url.rpartition("/")[2]


def _expected_sha256(name: str) -> str:
    """The SHA-256, or its beginning, that the weights must have; "" for a trained model, of which none is published."""
    model = entry(name)
    if model.path:
        return model.sha256
    return weights_path(name).stem.rpartition("-")[2]  # torchvision's files end in the first digits of their hash


@lru_cache(maxsize=16)
def _sha256(path: Path, modified_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_sha256(name: str) -> str:
    """The SHA-256 of the model's weights on disk, 64 hex digits; computed once while the file stays as it is.

    Raises WeightsError if they are not on disk, UsageError for a name not in the catalogue.
    """
    path = weights_path(name)
    try:
        status = path.stat()
        return _sha256(path, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        raise WeightsError(f"the weights of {name} are not on disk ({path}); {entry(name).how_to_get}") from None
    except OSError as error:
        raise WeightsError(f"the weights of {name} cannot be read: {error}") from error


def fetch_weights(
    name: str,
    *,
    base_url: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Download the model's weights unless they are on disk and whole; returns where they are.

    base_url: a mirror, asked for `<base_url>/<the published file's name>`; by default the published address.
    progress(done, total): bytes; total is None where the server does not say.
    Raises DownloadError when it failed for good, Cancelled, UsageError for a name not in the catalogue, and
    WeightsError for a shipped model that is missing or damaged.
    """
    if entry(name).path:
        return _checked_path(name)
    path = weights_path(name)
    url = _published(name).url if base_url is None else f"{base_url.rstrip('/')}/{path.name}"
    return download.fetch(url, path, sha256_prefix=_expected_sha256(name), progress=progress, cancel=cancel)


def build_network(
    name: str, num_classes: int = len(VOC), *, auxiliary: bool = True, output_stride: int | None = None
) -> nn.Module:
    """The catalogue entry's network with random weights and logits of `num_classes`.

    auxiliary: with the second head that torchvision's published checkpoints hold. output_stride: of the shipped
    network, 8 or 16, by default that of its weights; torchvision's have their own.
    """
    if entry(name).path:
        return deeplabv3_mobilenet_v2(num_classes, output_stride or trained_stride(name))
    from torchvision.models import get_model

    return get_model(name, weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=auxiliary)


def _checked_path(name: str) -> Path:
    found, expected = weights_sha256(name), _expected_sha256(name)
    path = weights_path(name)
    if not found.startswith(expected):
        raise WeightsError(
            f"the weights of {name} are damaged: the SHA-256 of {path} begins with {found[: len(expected)]}, "
            f"not {expected}; {entry(name).how_to_get}"
        )
    return path


def load(name: str, *, output_stride: int | None = None) -> nn.Module:
    """The model's network with its weights: float32, in eval mode, on the CPU, without the auxiliary head.

    output_stride: 8 or 16, for the shipped network and those trained from it; by default what they were trained at.
    Every call gives a network of its own. Its forward is torchvision's, normalised float32 (N, 3, h, w) ->
    {"out": logits (N, classes, h, w)}; `prepare` is for running it.
    Raises WeightsError if the weights are not on disk, are damaged or are not those of the network, UsageError for a
    name not in the catalogue.
    """
    path, header = _checked_path(name), _header(name)
    network: Any  # torchvision's attributes are untyped
    if header is None:
        network, state = build_network(name), torch.load(path, map_location="cpu", weights_only=True)
    else:
        _check_known(header.network, path)
        stride = output_stride or header.output_stride
        network = build_network(header.network, len(header.categories), auxiliary=False, output_stride=stride)
        state = load_file(path)
    if misfit := next(_misfits(network.state_dict(), state), None):
        called = header.network if header else name
        raise WeightsError(f"the weights in {path} cannot be used for {called}: {misfit}; {entry(name).how_to_get}")
    network.load_state_dict(state, strict=False)
    network.aux_classifier = None
    return network.float().eval()


def _check_known(network: str, path: Path) -> None:
    if network in catalogue.FORMER_NAMES:
        raise WeightsError(
            f"{path} was trained on the network {network}, which is no longer part of segcore; train it again, on "
            f"{catalogue.FORMER_NAMES[network]}"
        )
    if network not in catalogue.CATALOGUE:
        raise WeightsError(f"{path} holds weights for {shown(network)}, which this segcore does not know; update it")


def _misfits(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """What is wrong with each tensor of `state` that does not fit a network's `expected` ones, in words.

    Only batch norm's counters may be missing: training alone needs them, and our files leave them out.
    """
    for name, wanted in expected.items():
        given = state.get(name)
        if given is None:
            if not name.endswith(".num_batches_tracked"):
                yield f"{name} is missing"
        elif given.shape != wanted.shape or given.is_floating_point() != wanted.is_floating_point():
            yield f"{name} is {given.dtype} {tuple(given.shape)}, expected {wanted.dtype} {tuple(wanted.shape)}"
        elif not given.float().isfinite().all():
            yield f"{name} holds values that are not finite"
    yield from (f"{shown(name)} is no part of that network" for name in state.keys() - expected.keys())


def _header(name: str) -> checkpoint.Header | None:
    """What the model's file says besides its weights; None for torchvision's, whose files say nothing."""
    model = entry(name)
    if model.path is None:
        return None
    return checkpoint.read_header(_checked_path(name) if model.sha256 else model.path)


def network_of(name: str) -> str:
    """The catalogue entry whose network the model has: itself, or what a trained model's file says.

    Raises WeightsError for a trained model's file that cannot be read, UsageError for a name not in the catalogue.
    """
    header = _header(name)
    return header.network if header else entry(name).name


def trained_stride(name: str) -> int:
    """The output stride that a shipped or trained model's network was trained at; torchvision's are 8 or 16 by design.

    Raises as `categories` does.
    """
    header = _header(name)
    return header.output_stride if header else 16


def temperature(name: str) -> float | None:
    """What the model's logits are divided by so that its probabilities can be believed; None if it was not fitted.

    Raises as `categories` does.
    """
    header = _header(name)
    return header.temperature if header else None


def categories(name: str) -> Categories:
    """What the model tells apart, in the order of its logits.

    Raises WeightsError for a file that cannot be read, UsageError for a name not in the catalogue.
    """
    header = _header(name)
    return header.categories if header else VOC


def preprocess_for(name: str, resize: str = "squeeze") -> Preprocess:
    """What stands before the model's network: size, mean and deviation of its weights' own transforms.

    resize: as in `Preprocess`. Raises UsageError for an unknown one and for an unknown name, WeightsError for a file
    that cannot be read.
    """
    header = _header(name)
    if header:
        return header.preprocess(resize)
    transforms = _published(name).transforms()
    (size,) = transforms.resize_size
    return Preprocess(size=size, resize=resize, mean=tuple(transforms.mean), std=tuple(transforms.std))
