"""The list of models by name. It needs neither torch nor torchvision, so importing it is quick."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from . import hub

AUTO = "auto"


@dataclass(frozen=True)
class ModelEntry:
    """One model. Its weights come from torchvision, from this package, from a file that training wrote, from the
    Hugging Face Hub, or from a function of the user's, which makes a network with its weights.

    title, summary: texts for people, a few words and one sentence that helps to choose.
    torchvision_weights: the name for `torchvision.models.get_weight`, which gives URL, hash, transforms and categories;
    None for all others. path: the file in segcore's format; None for all others. factory: whether `name` is that of a
    function, "module:function".
    sha256: the hash that the file must have; "" if none is published, or if torchvision's file name contains it.
    licence: of the weights, as the Hub calls it; "" if we do not know it.
    how_to_get: what the user should do if the weights are missing or damaged.
    """

    name: str
    title: str
    summary: str
    torchvision_weights: str | None = None
    path: Path | None = None
    factory: bool = False
    sha256: str = ""
    licence: str = ""
    how_to_get: str = ""


def _torchvision(name: str, title: str, summary: str, builder: str) -> ModelEntry:
    weights = f"{builder}_Weights.COCO_WITH_VOC_LABELS_V1"
    how_to_get = f"fetch them with: python -m segcore fetch-weights {name}"
    licence = "bsd-3-clause"
    return ModelEntry(name, title, summary, torchvision_weights=weights, licence=licence, how_to_get=how_to_get)


def _shipped(name: str, title: str, summary: str, sha256: str) -> ModelEntry:
    path = Path(__file__).parents[1] / "weights" / f"{name}.safetensors"
    how_to_get = "they are part of segcore: install it again (in a clone that keeps them in LFS: git lfs pull)"
    licence = "apache-2.0"
    return ModelEntry(name, title, summary, path=path, sha256=sha256, licence=licence, how_to_get=how_to_get)


def _trained(name: str) -> ModelEntry:
    path = Path(name)
    summary = f"Trained by segcore, from {path.name}."
    return ModelEntry(name, path.stem, summary, path=path, how_to_get="give the path of a file that training wrote")


def _on_the_hub(name: str) -> ModelEntry:
    path, title = hub.cached(name), hub.place_of(name).repo
    how_to_get = f"delete that file if it is there, and fetch it: python -m segcore fetch-weights {name}"
    summary, sha256 = f"From the Hugging Face Hub, {title}.", hub.expected_sha256(path)
    return ModelEntry(name, title, summary, path=path, sha256=sha256, how_to_get=how_to_get)


def _made(name: str) -> ModelEntry:
    return ModelEntry(name, name, f"A network of your own, made by {name}.", factory=True)


CATALOGUE = {
    each.name: each
    for each in (
        _torchvision(
            "deeplabv3_resnet101",
            "DeepLabV3, ResNet-101",
            "The most accurate of the four; a large download and the slowest.",
            "DeepLabV3_ResNet101",
        ),
        _torchvision(
            "deeplabv3_resnet50",
            "DeepLabV3, ResNet-50",
            "Nearly as accurate as ResNet-101, for about two thirds of the work.",
            "DeepLabV3_ResNet50",
        ),
        _torchvision(
            "deeplabv3_mobilenet_v3_large",
            "DeepLabV3, MobileNetV3-Large",
            "Small and quick; the least accurate of torchvision's three.",
            "DeepLabV3_MobileNet_V3_Large",
        ),
        _shipped(
            "deeplabv3_mobilenet_v2",
            "DeepLabV3+, MobileNetV2",
            "Ships with segcore and needs no download; by far the quickest, and less accurate than the ResNets.",
            "78fba136a79a99a1a988ef566ec66129fd7aa1669db02212462124f12cc429fd",
        ),
    )
}
PREFERRED = "deeplabv3_resnet101"
SHIPPED = "deeplabv3_mobilenet_v2"
# By torchvision, for COCO val2017 with VOC's classes. `loading.facts` has them too, but needs torchvision.
PUBLISHED = {
    "deeplabv3_resnet101": {"mean_iou": 0.674, "pixel_accuracy": 0.924},
    "deeplabv3_resnet50": {"mean_iou": 0.664, "pixel_accuracy": 0.924},
    "deeplabv3_mobilenet_v3_large": {"mean_iou": 0.603, "pixel_accuracy": 0.912},
}
FORMER_NAMES = {"deeplabv3_efficientnet_lite0": SHIPPED}  # replaced models; the old names work until version 0.2
TRAINED_SUFFIX = ".safetensors"


def is_file(name: str) -> bool:
    """Whether `name` is the path of a file that training wrote, and not the name of a model."""
    return name.endswith(TRAINED_SUFFIX) and not hub.is_hub(name)


def is_factory(name: str) -> bool:
    """Whether `name` is "module:function": a function that makes a network of the user's own."""
    return not hub.is_hub(name) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", name) is not None


def has_own_categories(name: str) -> bool:
    """Whether the model may have other categories than VOC's, which only opening it tells."""
    return is_file(name) or is_factory(name) or hub.is_hub(name)


def public_name(name: str) -> str:
    """Return the model's name for exported files and the page. A path is shortened to its file name."""
    return Path(name).name if is_file(name) else name


def former_name_notice(name: str) -> str:
    """Return the notice for a model's former name."""
    return f"the model {name!r} was replaced by {FORMER_NAMES[name]!r}; please use the new name, the old one will go"


def current_name(name: str) -> str:
    """Return `name`. A former name gives a FutureWarning and returns the name of the model that replaced it."""
    if name in FORMER_NAMES:
        warnings.warn(
            former_name_notice(name), FutureWarning, stacklevel=1
        )  # always this line, so Python shows the warning once
    return FORMER_NAMES.get(name, name)


def entry(name: str) -> ModelEntry:
    """Return the model of a name, former name, path, factory or repository of the Hub. It uses no network.

    Raises UsageError, which lists the names, for any other.
    """
    if is_file(name):
        return _trained(name)
    if is_factory(name):
        return _made(name)
    if hub.is_hub(name):
        return _on_the_hub(name)
    name = current_name(name)
    if name not in CATALOGUE:
        raise UsageError(f"there is no model {name!r}; choose one of: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def checkpoints_folder() -> Path:
    """Return the folder of downloaded weights. It is torch.hub's folder, shared with torchvision.

    It is $TORCH_HOME/hub/checkpoints. TORCH_HOME defaults to $XDG_CACHE_HOME/torch, and XDG_CACHE_HOME to ~/.cache.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(os.path.expanduser(home)) / "hub" / "checkpoints"


def on_disk(name: str) -> bool:
    """Whether a file with the name of the model's weights exists. Its content is checked when it is loaded.

    Only torchvision knows the exact name, and importing it takes seconds. But all its checkpoints are named
    `<name>-<8 hex digits of the hash>.pth` or `<name>_coco-<8 hex digits>.pth`.
    """
    model = entry(name)
    if model.factory:
        return True
    if model.path:
        return model.path.is_file()
    published = re.compile(rf"{model.name}(_coco)?-[0-9a-f]{{8}}\.pth")
    folder = checkpoints_folder()
    return folder.is_dir() and any(published.fullmatch(each.name) for each in folder.iterdir())


def resolve(name: str | os.PathLike[str], *, offline: bool = False) -> str:
    """Return the checked name or path of a model, or the name of a factory, which is not called yet.

    A model on the Hub is downloaded, unless `offline`, and its name gets the commit, see `hub.pinned`.

    "auto" gives the best model that needs no download: ResNet-101 if its weights are on disk, else the shipped model.
    A former name gives a FutureWarning and the current name. Raises UsageError for a name that is not in the catalogue.
    """
    name = os.fspath(name)
    if name == AUTO:
        return PREFERRED if on_disk(PREFERRED) else SHIPPED
    if is_file(name) or is_factory(name):
        return name
    if hub.is_hub(name):
        return hub.pinned(name, offline=offline)
    name = current_name(name)
    if name not in CATALOGUE:
        raise UsageError(
            f"there is no model {name!r}; choose {AUTO!r} or one of: {', '.join(CATALOGUE)}; or give the path of a "
            f"{TRAINED_SUFFIX} file that training wrote, hf:USER/NAME, or module:function for a network of your own"
        )
    return name
