"""The settings of a training, and the report of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

from ..classes import ANY_OBJECT
from ..errors import UsageError
from ..inference.task import BINARY, MULTICLASS
from ..models import catalogue

OWN_CATEGORIES, VOC_CATEGORIES = "own", "voc"
PLAIN, BALANCED = "plain", "balanced"
_MOST_SEED = 2**62  # PyTorch takes 64 bits with a sign, and the number of the step is added


@dataclass(frozen=True)
class TrainSettings:
    """The settings of a training. Raises UsageError for invalid settings.

    coco, split: a dataset in COCO's layout or VOC's. out: the folder for model.safetensors, curves and checkpoint.
    model: the catalogue entry, or the file of a trained model, to start from.
    mode, categories, class_name: "multiclass" learns the dataset's "own" categories, or VOC's 20 ("voc"); "binary"
    learns one of them, or "any", against everything else.
    steps, batch_size, crop (pixels). learning_rate: of the head. The backbone, and the layers of the shipped head that
    have pretrained weights, use `backbone_rate` times that. weight_decay: of AdamW.
    loss: cross entropy, "plain" or "balanced". dice: the weight of the Dice loss beside it.
    frozen_stages: the number of first stages of the backbone that do not learn. frozen_depthwise: depthwise kernels of
    the backbone do not learn.
    average: decay of the exponential moving average of the weights, 0 to under 1 (0 turns it off).
    output_stride: 16 or 8, for the shipped network; by default that of `model`. 8 gives finer features for more work.
    truth: pairs of folders (photographs, label maps) that are used like the dataset. truth_share: their share of crops.
    incomplete_truth: the same for label maps that miss objects; incomplete: the dataset misses objects. Their
    background is used only where the teacher also predicts background.
    leave_out: photographs that are not trained on, by file name without suffix, in any folder.
    unlabelled: folders of photographs that only the teacher labels. unlabelled_share: their share of crops.
    pseudo: photographs, and label maps that a model made. pseudo_share: their share of crops.
    teacher: a model, by name or file, whose probabilities are used as soft labels with the weight `teacher_share`.
    teacher_resize: the resize of the photographs that it sees; the trained network sees squeezed ones in use.
    cache: the folder for these probabilities, by default `out`.
    scale: minimum and maximum scale of the photographs; 1 is the size at which the network is used.
    balanced: the share of crops for which a class is drawn first, with equal chances. centred: the share of these that
    are centred on the class. paste: the share of crops that get an object of another photograph.
    validation_split: another split to validate on. Without it, the share `hold_back` of the images is used (0: no
    validation, and the last weights are kept instead of the best). validate_every, save_every: steps.
    seed: of everything that is random. device: as for `Segmenter`. precision: "auto", "float32" or "bfloat16".
    """

    coco: Path
    out: Path
    split: str | None = None
    model: str = catalogue.SHIPPED
    mode: str = MULTICLASS
    categories: str = OWN_CATEGORIES
    class_name: str = ANY_OBJECT
    steps: int = 1000
    batch_size: int = 8
    crop: int = 256
    learning_rate: float = 1e-3
    backbone_rate: float = 0.3
    weight_decay: float = 0.01
    loss: str = PLAIN
    dice: float = 0.0
    frozen_stages: int = 0
    frozen_depthwise: bool = False
    average: float = 0.995
    output_stride: int | None = None
    truth: tuple[tuple[Path, Path], ...] = ()
    incomplete_truth: tuple[tuple[Path, Path], ...] = ()
    truth_share: float = 0.5
    incomplete: bool = False
    leave_out: tuple[str, ...] = ()
    unlabelled: tuple[Path, ...] = ()
    unlabelled_share: float = 0.2
    pseudo: tuple[Path, Path] | None = None
    pseudo_share: float = 0.5
    teacher: str | None = None
    teacher_resize: str = "squeeze"
    teacher_share: float = 0.3
    cache: Path | None = None
    scale: tuple[float, float] = (0.5, 1.6)
    balanced: float = 0.75
    centred: float = 1.0
    paste: float = 0.0
    validation_split: str | None = None
    hold_back: float = 0.1
    validate_every: int = 500
    save_every: int = 100
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name in ("coco", "out", "truth", "incomplete_truth", "unlabelled", "pseudo", "cache"):
            object.__setattr__(self, name, _as_paths(getattr(self, name)))
        for name, choices in (
            ("mode", (MULTICLASS, BINARY)),
            ("categories", (OWN_CATEGORIES, VOC_CATEGORIES)),
            ("loss", (PLAIN, BALANCED)),
            ("precision", ("auto", "float32", "bfloat16")),
        ):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} must be {' or '.join(map(repr, choices))}, got {getattr(self, name)!r}")
        for name, least in (("steps", 1), ("batch_size", 1), ("validate_every", 1), ("save_every", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("learning_rate", "backbone_rate", "weight_decay", "dice"):
            if not math.isfinite(getattr(self, name)):
                raise UsageError(f"{name} must be a finite number, got {getattr(self, name)}")
        if not 0 <= self.seed <= _MOST_SEED:
            raise UsageError(f"the seed must be from 0 to {_MOST_SEED}, got {self.seed}")
        if self.learning_rate <= 0 or min(self.backbone_rate, self.weight_decay, self.dice, self.frozen_stages) < 0:
            raise UsageError("the learning rate must be above 0; no rate, weight or number of stages may be negative")
        if not 0 <= self.hold_back < 1:
            raise UsageError(f"the share that is held back must be from 0 to under 1, got {self.hold_back}")
        if self.output_stride not in (None, 8, 16):
            raise UsageError(f"the output stride must be 8 or 16, got {self.output_stride}")
        if catalogue.is_factory(self.model):
            raise UsageError(f"training starts from a model of segcore's, not from {self.model}; name one, or its file")
        if not self.teacher and (self.unlabelled or self.incomplete or self.incomplete_truth):
            raise UsageError("unlabelled photographs and incomplete truth need a teacher; name a model for it")
        if self.dataset_share < 0:
            raise UsageError("the shares of truth, unlabelled and pseudo-labelled crops add up to more than 1")
        if self.mode == MULTICLASS and self.class_name != ANY_OBJECT:
            raise UsageError("a class asks for one class against all else; choose the mode 'binary'")

    @property
    def dataset_share(self) -> float:
        """The share of crops from the dataset, which is what the other sources leave."""
        truth = self.truth_share if self.truth or self.incomplete_truth else 0.0
        unlabelled = self.unlabelled_share if self.unlabelled else 0.0
        return round(1 - truth - unlabelled - (self.pseudo_share if self.pseudo else 0.0), 6)

    def record(self) -> dict[str, object]:
        """Return the settings that determine the result, as JSON values, without folders and intervals of saving."""
        record = asdict(self)
        for name in ("out", "cache", "save_every"):
            del record[name]
        record["coco"] = self.coco.resolve().name
        record["model"] = Path(self.model).name
        record["teacher"] = self.teacher and Path(self.teacher).name
        record["pseudo"] = self.pseudo and _named(self.pseudo)
        for name in ("truth", "incomplete_truth", "unlabelled"):
            record[name] = _named(getattr(self, name))
        return record


def _as_paths(value: str | PathLike | Sequence | None) -> Path | tuple | None:
    """Convert a folder, or nested sequences of folders, to paths."""
    if value is None or isinstance(value, str | PathLike):
        return None if value is None else Path(value)
    return tuple(map(_as_paths, value))


def _named(paths: Path | tuple) -> str | list:
    """Return folders by their last two parts, for the record."""
    return [_named(each) for each in paths] if isinstance(paths, tuple) else "/".join(paths.resolve().parts[-2:])


@dataclass(frozen=True)
class StepDone:
    """The report of one step: loss and mean IoU on its crops, and the seconds left."""

    step: int
    steps: int
    loss: float
    mean_iou: float
    seconds_left: float
    validation_mean_iou: float | None = None

    def line(self) -> str:
        """Return the report as one line of text."""
        minutes = f"{self.seconds_left / 60:.1f} min left"
        text = f"step {self.step} of {self.steps}: loss {self.loss:.4f}, mean IoU {self.mean_iou:.3f} on its crops"
        if self.validation_mean_iou is not None:
            text += f", {self.validation_mean_iou:.4f} in validation"
        return f"{text}; {minutes}"
