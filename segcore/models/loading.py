"""Loads models: network, weights, categories and preprocessing of a catalogue entry.

It imports torch, and torchvision for torchvision's models; each import takes seconds. `catalogue` needs neither.
"""

from __future__ import annotations

import hashlib
import os
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
from ..errors import UsageError, WeightsError, shown
from ..files import download
from . import catalogue, checkpoint, hub
from .architectures import deeplabv3_mobilenet_v2
from .catalogue import entry, on_disk
from .own import Model, made_by
from .transforms import Preprocess

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

Named = str | Model  # a name of the catalogue, a path, a factory, or the caller's own model

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
    """Published facts about a model's weights.

    megabytes: the file's size in millions of bytes, nan for a missing shipped file. mean_iou, pixel_accuracy: 0..1,
    published by torchvision for COCO val2017 with VOC's classes; None for the shipped model, whose scores are in its
    model card in segcore/weights.
    """

    file: str
    megabytes: float
    mean_iou: float | None
    pixel_accuracy: float | None


def _published(name: str) -> WeightsEnum:
    """Return torchvision's entry for the weights of one of its models.

    Raises WeightsError if the classes of the weights are not VOC's, in the same order, UsageError for a factory.
    """
    from torchvision.models import get_weight

    model = entry(name)
    if model.torchvision_weights is None:
        raise UsageError(f"{name} is a network of your own; choose one of: {', '.join(catalogue.CATALOGUE)}")
    weights = get_weight(model.torchvision_weights)
    classes = tuple(each.strip("_") for each in weights.meta["categories"])  # they say "__background__"
    if classes != VOC_NAMES:
        raise WeightsError(
            f"expected weights of {name} for the classes {', '.join(VOC_NAMES)}, got {', '.join(classes)}; "
            "install the version of torchvision that requirements.txt names"
        )
    return weights


def facts(name: str) -> Facts:
    """Return a model's file size and published scores, on disk or not. Raises UsageError for an unknown name."""
    if path := entry(name).path:
        return Facts(path.name, path.stat().st_size / 1e6 if path.is_file() else float("nan"), None, None)
    meta = _published(name).meta
    scores = meta["_metrics"]["COCO-val2017-VOC-labels"]
    mebibytes = meta["_file_size"]
    return Facts(weights_path(name).name, mebibytes * 2**20 / 1e6, scores["miou"] / 100, scores["pixel_acc"] / 100)


def weights_path(name: str) -> Path:
    """Return the path of the model's weights, whether they are on disk or not."""
    if path := entry(name).path:
        return path
    return catalogue.checkpoints_folder() / _published(name).url.rpartition("/")[2]


def _expected_sha256(name: str) -> str:
    """Return the SHA-256 that the weights must have, or its first digits; "" for a trained model."""
    model = entry(name)
    if model.path:
        return model.sha256
    return weights_path(name).stem.rpartition("-")[2]  # torchvision's file names end with the first digits of the hash


@lru_cache(maxsize=16)
def _sha256(path: Path, modified_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_sha256(model: Named) -> str:
    """Return the SHA-256 of the model's weights on disk, 64 hex digits. It is cached until the file changes.

    Raises WeightsError if they are not on disk, UsageError for a name not in the catalogue.
    """
    if own := own_model(model):
        return own.weights_sha256
    return _sha256_of_file(str(model))


def _sha256_of_file(name: str) -> str:
    path = weights_path(name)
    try:
        status = path.stat()
        return _sha256(path, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        raise WeightsError(f"the weights of {name} are not on disk ({path}); {entry(name).how_to_get}") from None
    except OSError as error:
        raise WeightsError(f"the weights of {name} cannot be read: {error}") from error


def resolve(model: str | os.PathLike[str] | Model) -> Named:
    """Return a checked name as `catalogue.resolve` does, or the caller's own model as it is.

    Raises UsageError for an unknown name and for an object of another type.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, str | os.PathLike):
        return catalogue.resolve(model)
    raise UsageError(f"expected the name of a model, a file, or a segcore.Model, got {type(model).__name__}")


def fetch_weights(
    name: str,
    *,
    base_url: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Download the model's weights unless they are on disk and valid. Returns their path.

    base_url: a mirror that has `<base_url>/<the published file's name>`; by default the published address.
    progress(done, total): is called with bytes; total is None if the server does not send it.
    Raises DownloadError after the last attempt, Cancelled, UsageError for a name not in the catalogue, and
    WeightsError for a shipped model that is missing or damaged.
    """
    if hub.is_hub(name):
        return _checked_path(hub.pinned(name))
    if entry(name).path:
        return _checked_path(name)
    path = weights_path(name)
    url = _published(name).url if base_url is None else f"{base_url.rstrip('/')}/{path.name}"
    return download.fetch(url, path, sha256_prefix=_expected_sha256(name), progress=progress, cancel=cancel)


def build_network(
    name: str, num_classes: int = len(VOC), *, auxiliary: bool = True, output_stride: int | None = None
) -> nn.Module:
    """Make the catalogue entry's network with random weights and `num_classes` logits.

    auxiliary: add the auxiliary head, which torchvision's checkpoints contain. output_stride: 8 or 16, for the shipped
    network only; by default the stride of its weights.
    """
    if entry(name).path:
        return deeplabv3_mobilenet_v2(num_classes, output_stride or trained_stride(name))
    from torchvision.models import get_model

    return get_model(name, weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=auxiliary)


def _checked_path(name: str) -> Path:
    found, expected = _sha256_of_file(name), _expected_sha256(name)
    path = weights_path(name)
    if not found.startswith(expected):
        raise WeightsError(
            f"the weights of {name} are damaged: the SHA-256 of {path} begins with {found[: len(expected)]}, "
            f"not {expected}; {entry(name).how_to_get}"
        )
    return path


def load(model: Named, *, output_stride: int | None = None) -> nn.Module:
    """Load the model's network with its weights: float32, in eval mode, on the CPU, without the auxiliary head.

    output_stride: 8 or 16, for the shipped network and those trained from it; by default the stride of the training.
    Every call returns a new network. Its forward is that of torchvision's models: normalised float32 (N, 3, h, w) ->
    {"out": logits (N, classes, h, w)}; that of a caller's own network is as in `Model`. Use `prepare` to run it.
    Raises WeightsError if the weights are not on disk, are damaged or do not fit the network, UsageError for a name
    not in the catalogue.
    """
    if own := own_model(model):
        return own.load()
    name = str(model)
    path, header = _checked_path(name), checkpoint_header(name)
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
    """Yield a description of each tensor in `state` that does not fit the network's `expected` tensors.

    Only the counters of batch norm may be missing: only training needs them, and checkpoints do not hold them.
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


def own_model(model: Named) -> Model | None:
    """Return the caller's own model, given or made by a factory; None for a model of the catalogue or a file.

    Raises UsageError for a factory that gives none, and for a name not in the catalogue.
    """
    if isinstance(model, Model):
        return model
    return made_by(model) if entry(model).factory else None


def _described(model: Named) -> Model | checkpoint.Header | None:
    """Return what says how to use the model: itself or its checkpoint's header; None for torchvision's files."""
    return own_model(model) or checkpoint_header(str(model))


def checkpoint_header(name: str) -> checkpoint.Header | None:
    """Return the header of the model's checkpoint; None for torchvision's files, which have none.

    Raises as `categories` does.
    """
    model = entry(name)
    if model.path is None:
        return None
    return checkpoint.read_header(_checked_path(name) if model.sha256 or hub.is_hub(name) else model.path)


def network_of(name: str) -> str:
    """Return the catalogue entry whose network the model uses: its own, or the one named in its checkpoint.

    Raises WeightsError for a trained model's file that cannot be read, UsageError for a name not in the catalogue.
    """
    header = checkpoint_header(name)
    return header.network if header else entry(name).name


def trained_stride(name: str) -> int:
    """Return the output stride at which a shipped or trained model was trained; 16 for torchvision's models.

    Raises as `categories` does.
    """
    header = checkpoint_header(name)
    return header.output_stride if header else 16


def temperature(model: Named) -> float | None:
    """Return the temperature that calibrates the model's logits; None if none was fitted.

    Raises as `categories` does.
    """
    described = _described(model)
    return described.temperature if described else None


def categories(model: Named) -> Categories:
    """Return the model's categories, in the order of its logits.

    Raises WeightsError for a file that cannot be read, UsageError for a name not in the catalogue, and as `own_model`.
    """
    described = _described(model)
    return described.categories if described else VOC


def preprocess_for(model: Named, resize: str = "squeeze") -> Preprocess:
    """Return the model's preprocessing, with the size, mean and deviation that its weights were trained with.

    resize: as in `Preprocess`. Raises UsageError for an unknown one and for an unknown name, WeightsError for a file
    that cannot be read.
    """
    if described := _described(model):
        return described.preprocess(resize)
    transforms = _published(str(model)).transforms()
    (size,) = transforms.resize_size
    return Preprocess(size=size, resize=resize, mean=tuple(transforms.mean), std=tuple(transforms.std))
