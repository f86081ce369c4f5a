"""What is trained on what, and how; and what is told of each step."""

from __future__ import annotations

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


@dataclass(frozen=True)
class TrainSettings:
    """What is trained on what, and how. Raises UsageError for what does not fit.

    coco, split: a dataset in COCO's layout or VOC's. out: the folder for model.safetensors, curves and checkpoint.
    model: the catalogue entry, or the file of a trained model, to start from.
    mode, categories, class_name: "multiclass" tells the dataset's "own" categories apart, or VOC's 20 ("voc");
    "binary" tells one of them, or "any", from everything else.
    steps, batch_size, crop (pixels). learning_rate: of the head; the backbone, and the layers that the shipped head
    began with, learn at `backbone_rate` times that.
    loss: cross entropy, "plain" or "balanced"; dice: what Dice counts beside it. frozen_stages: how many of the
    backbone's first stages stay as they are, and frozen_depthwise: so do all its depthwise kernels.
    average: decay of the exponential moving average of the weights, 0 to under 1 (0 turns it off).
    output_stride: 16 or 8, of the shipped network, by default as in `model`; 8 decides on a finer grid, for more work.
    truth: pairs of folders, photographs and label maps, that are learned from like the dataset; truth_share: of the
    crops. incomplete_truth: likewise, where label maps leave objects out; incomplete: the dataset itself does. A
    background then counts only where the teacher believes in it.
    leave_out: photographs that nothing is learned from, by file name without suffix, wherever they lie.
    unlabelled: folders of photographs that only the teacher says anything of; unlabelled_share: of the crops.
    pseudo: photographs and label maps that a model made; pseudo_share: of the crops.
    teacher: the model, by name or file, whose probabilities are learned from beside the truth, counting
    `teacher_share`; cache: the folder that keeps them, `out` by default.
    scale: of the photographs, least and most, where 1 is the size that the network is used at.
    balanced: the share of the crops drawn for a class, and that evenly; centred: the share of those that are centred
    on it; paste: of the crops that get an object of another photograph.
    validation_split: another split to validate on; else a share `hold_back` of the images is held back for it (0:
    nothing is validated, and the last weights are kept, not the best). validate_every, save_every: steps.
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
        if self.learning_rate <= 0 or min(self.backbone_rate, self.weight_decay, self.dice, self.frozen_stages) < 0:
            raise UsageError("the learning rate must be above 0; no rate, weight or number of stages may be negative")
        if not 0 <= self.hold_back < 1:
            raise UsageError(f"the share that is held back must be from 0 to under 1, got {self.hold_back}")
        if self.output_stride not in (None, 8, 16):
            raise UsageError(f"the output stride must be 8 or 16, got {self.output_stride}")
        if not self.teacher and (self.unlabelled or self.incomplete or self.incomplete_truth):
            raise UsageError("unlabelled photographs and incomplete truth need a teacher; name a model for it")
        if self.dataset_share < 0:
            raise UsageError("the shares of truth, unlabelled and pseudo-labelled crops add up to more than 1")
        if self.mode == MULTICLASS and self.class_name != ANY_OBJECT:
            raise UsageError("a class asks for one class against all else; choose the mode 'binary'")

    @property
    def dataset_share(self) -> float:
        """The share of the crops that are of the dataset: what the other sources leave."""
        truth = self.truth_share if self.truth or self.incomplete_truth else 0.0
        unlabelled = self.unlabelled_share if self.unlabelled else 0.0
        return round(1 - truth - unlabelled - (self.pseudo_share if self.pseudo else 0.0), 6)

    def record(self) -> dict[str, object]:
        """What decides the result, fit for JSON: all but where things are and how often they are saved."""
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
    """Folders given as text, alone or in sequences, as paths."""
    if value is None or isinstance(value, str | PathLike):
        return None if value is None else Path(value)
    return tuple(map(_as_paths, value))


def _named(paths: Path | tuple) -> str | list:
    """Folders as the record names them: without where they lie."""
    return [_named(each) for each in paths] if isinstance(paths, tuple) else "/".join(paths.resolve().parts[-2:])


@dataclass(frozen=True)
class StepDone:
    """One step, for whoever waits: the loss and the mean IoU of its crops, and the seconds that are left."""

    step: int
    steps: int
    loss: float
    mean_iou: float
    seconds_left: float
    validation_mean_iou: float | None = None

    def line(self) -> str:
        """The same in words."""
        minutes = f"{self.seconds_left / 60:.1f} min left"
        text = f"step {self.step} of {self.steps}: loss {self.loss:.4f}, mean IoU {self.mean_iou:.3f} on its crops"
        if self.validation_mean_iou is not None:
            text += f", {self.validation_mean_iou:.4f} in validation"
        return f"{text}; {minutes}"
