"""The models there are, by name; light enough to be asked before anything heavy is imported."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError

AUTO = "auto"


@dataclass(frozen=True)
class ModelEntry:
    """One model. `title` and `summary` are for people: a few words, and one sentence that helps to choose.

    The weights come from torchvision, from this package, or from a file that training wrote. All that depends on this
    is decided here. torchvision_weights: the entry for `torchvision.models.get_weight`, which knows URL, hash,
    transforms and categories; None for a file in our own format. path: that file; None for torchvision's, whose name
    torchvision knows. sha256: the hash that the file must have; "" where none is published, or where torchvision's
    file name has it. how_to_get: what to do where the weights are missing or damaged.
    """

    name: str
    title: str
    summary: str
    torchvision_weights: str | None = None
    path: Path | None = None
    sha256: str = ""
    how_to_get: str = ""


def _torchvision(name: str, title: str, summary: str, builder: str) -> ModelEntry:
    weights = f"{builder}_Weights.COCO_WITH_VOC_LABELS_V1"
    how_to_get = f"fetch them with: python -m segcore fetch-weights {name}"
    return ModelEntry(name, title, summary, torchvision_weights=weights, how_to_get=how_to_get)


def _shipped(name: str, title: str, summary: str, sha256: str) -> ModelEntry:
    path = Path(__file__).parents[1] / "weights" / f"{name}.safetensors"
    how_to_get = "they are part of segcore: install it again (in a clone that keeps them in LFS: git lfs pull)"
    return ModelEntry(name, title, summary, path=path, sha256=sha256, how_to_get=how_to_get)


def _trained(name: str) -> ModelEntry:
    path = Path(name)
    summary = f"Trained by segcore, from {path.name}."
    return ModelEntry(name, path.stem, summary, path=path, how_to_get="give the path of a file that training wrote")


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
            "86467e81c773d6140f7e581f99eb1b56fef6ab4ab3181d1a3dc25bed7067dc19",
        ),
    )
}
PREFERRED = "deeplabv3_resnet101"
SHIPPED = "deeplabv3_mobilenet_v2"
FORMER_NAMES = {"deeplabv3_efficientnet_lite0": SHIPPED}  # of models that were replaced; accepted until version 0.2
TRAINED_SUFFIX = ".safetensors"


def is_file(name: str) -> bool:
    """Whether a model is called by the path of a file that training wrote, and not by its name."""
    return name.endswith(TRAINED_SUFFIX)


def public_name(name: str) -> str:
    """What exported files and pages call a model: its name, or its file's without the folders that it lies in."""
    return Path(name).name if is_file(name) else name


def former_name_notice(name: str) -> str:
    """What to tell someone who gives a model's former name."""
    return f"the model {name!r} was replaced by {FORMER_NAMES[name]!r}; please use the new name, the old one will go"


def current_name(name: str) -> str:
    """The name itself, or for a former name, with a FutureWarning, the name of the model that replaced it."""
    if name in FORMER_NAMES:
        warnings.warn(former_name_notice(name), FutureWarning, stacklevel=1)  # one place: Python tells it once
    return FORMER_NAMES.get(name, name)


def entry(name: str) -> ModelEntry:
    """The model of that name, former name or path. Raises UsageError, with the names there are, for any other."""
    if is_file(name):
        return _trained(name)
    name = current_name(name)
    if name not in CATALOGUE:
        raise UsageError(f"there is no model {name!r}; choose one of: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def checkpoints_folder() -> Path:
    """Where downloaded weights live: torch.hub's own folder, so that they are shared with torchvision.

    $TORCH_HOME/hub/checkpoints; TORCH_HOME is $XDG_CACHE_HOME/torch if not set, and that ~/.cache.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(os.path.expanduser(home)) / "hub" / "checkpoints"


def on_disk(name: str) -> bool:
    """Whether there is a file of the name that the model's weights have; loading shows whether it is whole.

    The exact name is torchvision's to know, and importing that takes seconds. But published checkpoints are
    called after their builder and end in their hash: `<name>-<8 hex digits>.pth`, or `<name>_coco-...`.
    """
    model = entry(name)
    if model.path:
        return model.path.is_file()
    published = re.compile(rf"{model.name}(_coco)?-[0-9a-f]{{8}}\.pth")
    folder = checkpoints_folder()
    return folder.is_dir() and any(published.fullmatch(each.name) for each in folder.iterdir())


def resolve(name: str | os.PathLike[str]) -> str:
    """The name or path itself, checked; for "auto" the best model that needs no download: ResNet-101 if its weights
    are on disk, else the shipped one; for a former name, with a FutureWarning, the name of today. Raises UsageError for
    a name that is not in the catalogue.
    """
    name = os.fspath(name)
    if name == AUTO:
        return PREFERRED if on_disk(PREFERRED) else SHIPPED
    if is_file(name):
        return name
    name = current_name(name)
    if name not in CATALOGUE:
        raise UsageError(
            f"there is no model {name!r}; choose {AUTO!r} or one of: {', '.join(CATALOGUE)}; or give the path of a "
            f"{TRAINED_SUFFIX} file that training wrote"
        )
    return name
