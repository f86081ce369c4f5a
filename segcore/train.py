"""Fine-tuning: a network of the catalogue and a dataset in COCO's format in, one file that `Segmenter` loads out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import catalogue, losses, metrics, models, trained
from .augment import Augmentation
from .categories import VOC, Categories
from .classes import ANY_OBJECT, BACKGROUND, VOC_NAMES, folded
from .coco import CocoDataset, own_categories
from .depthwise import quicken
from .errors import Cancelled, SegcoreError, UsageError
from .evaluate import Run, evaluate
from .inference import Core
from .protocols import protocol
from .segmenter import Segmenter
from .task import BINARY, MULTICLASS, Task
from .training_log import Row, TrainingLog
from .training_set import TrainingSet, annotated, check_apart, checked_dataset, pseudo_labelled
from .training_state import CHECKPOINT, MovingAverage, TrainingState

MODEL_FILE = "model.safetensors"
OWN_CATEGORIES, VOC_CATEGORIES = "own", "voc"
PLAIN, BALANCED = "plain", "balanced"
_WARM_UP_STEPS = 50
_POWER = 0.9  # of the polynomial learning rate, as DeepLab has it
_GRADIENT_NORM = 5.0
_READ_AHEAD = 2  # batches
_FOR_STATISTICS = 8  # crops: with fewer the head's batch norm, too, keeps those that it starts with


@dataclass(frozen=True)
class TrainSettings:
    """What is trained on what, and how. Raises UsageError for what does not fit.

    coco, split: a dataset in COCO's layout. out: the folder for model.safetensors, curves and checkpoint.
    model: the catalogue entry, or the file of a trained model, to start from.
    mode, categories, class_name: "multiclass" tells the dataset's "own" categories apart, or VOC's 20 ("voc");
    "binary" tells one of them, or "any", from everything else.
    steps, batch_size, learning_rate: of the head; the backbone learns at `backbone_rate` times that. crop: pixels.
    loss: cross entropy, "plain" or "balanced"; dice: what Dice counts beside it. frozen_stages: how many of the
    backbone's first stages stay as they are, and frozen_depthwise: so do all its depthwise kernels.
    average: of the weights, from one step to the next.
    pseudo: folders of photographs and of their label maps; pseudo_share: of the crops.
    scale: of the photographs, least and most, where 1 is the size that the network is used at.
    balanced: the share of the crops that are centred on a class drawn evenly; paste: of those that get an object of
    another photograph.
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
    pseudo: tuple[Path, Path] | None = None
    pseudo_share: float = 0.5
    scale: tuple[float, float] = (0.5, 1.6)
    balanced: float = 0.75
    paste: float = 0.0
    validation_split: str | None = None
    hold_back: float = 0.1
    validate_every: int = 500
    save_every: int = 100
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, choices in (
            ("mode", (MULTICLASS, BINARY)),
            ("categories", (OWN_CATEGORIES, VOC_CATEGORIES)),
            ("loss", (PLAIN, BALANCED)),
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
        if self.mode == MULTICLASS and self.class_name != ANY_OBJECT:
            raise UsageError("a class asks for one class against all else; choose the mode 'binary'")

    def record(self) -> dict[str, object]:
        """What decides the result, fit for JSON: all but where things are and how often they are saved."""
        record = asdict(self)
        for name in ("out", "save_every"):
            del record[name]
        record["coco"] = self.coco.resolve().name
        record["model"] = Path(self.model).name
        record["pseudo"] = [folder.resolve().name for folder in self.pseudo] if self.pseudo else None
        return record


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


def choose_categories(settings: TrainSettings) -> Categories:
    """What the trained model will tell apart. Raises UsageError for a class that the dataset does not have."""
    if settings.categories == VOC_CATEGORIES:
        known = VOC
    else:
        names = own_categories(settings.coco, settings.split)
        known = Categories.of(*(each for each in names if folded(each) != VOC_NAMES[BACKGROUND]))
    if settings.mode == MULTICLASS:
        return known
    number = known.object_id(settings.class_name)
    if number is None:
        also = {name for each in range(1, len(known)) for name in (known.names[each], *known.also[each])}
        return Categories.any_of(tuple(sorted(also - {"object"})))
    called = (known.names[BACKGROUND], known.names[number])
    return Categories(called, (known.friendly[BACKGROUND], known.friendly[number]), ((), known.also[number]))


def train(
    settings: TrainSettings,
    *,
    resume: bool = False,
    on_step: Callable[[StepDone], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Fine-tune and return the path of the one file that holds the result, `out`/model.safetensors.

    resume: go on from `out`/checkpoint.pt; the result is then what it would have been without the interruption.
    Batches, drop-out and all else that is random depend on the seed and the step alone.

    Raises AnnotationError that tells everything that is wrong with the dataset before training begins; UsageError
    where `out` holds an earlier run and `resume` was not asked for, or holds one of other settings; WeightsError where
    the start's weights are not on disk; Cancelled, what was finished being in the checkpoint.
    """
    out = settings.out
    _check_folder(out, resume)
    categories = choose_categories(settings)
    data, validation = _data(settings, categories)
    out.mkdir(parents=True, exist_ok=True)

    device = models.pick_device(settings.device)
    torch.manual_seed(settings.seed)  # for the head's new layers
    network = starting_network(settings.model, categories).to(device, memory_format=torch.channels_last)
    freeze(network.backbone, settings.frozen_stages, depthwise=settings.frozen_depthwise)
    if device == "cpu":
        quicken(network)
    state = TrainingState(network, _optimizer(network, settings), MovingAverage(network, settings.average))
    if resume and (out / CHECKPOINT).exists():
        state.restore(out, settings.record())
    _Training(settings, categories, data, validation, device, state).run(on_step, cancel)
    return out / MODEL_FILE


def _check_folder(out: Path, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder for the results")
    if not resume and any((out / name).exists() for name in (CHECKPOINT, MODEL_FILE)):
        raise UsageError(f"{out} holds an earlier run; resume it, or name another folder")


_Validation = tuple[CocoDataset, list[int]] | None  # the ids of the images


def _data(settings: TrainSettings, categories: Categories) -> tuple[TrainingSet, _Validation]:
    """What is trained on, and what is validated on."""
    dataset = checked_dataset(settings.coco, settings.split, categories)
    ids = [image.id for image in dataset.images]
    validation = None
    if settings.validation_split:
        other = checked_dataset(settings.coco, settings.validation_split, categories)
        if other.split != dataset.split:
            check_apart(dataset, other)
        validation = other, [image.id for image in other.images]
    elif settings.hold_back:
        np.random.default_rng(settings.seed).shuffle(ids)
        held = max(1, round(settings.hold_back * len(ids)))
        validation = dataset, sorted(ids[:held])
        ids = sorted(ids[held:])
    data = TrainingSet(
        annotated(dataset, ids),
        Augmentation(settings.crop, models.preprocess_for(settings.model).size, settings.scale),
        pseudo=pseudo_labelled(*settings.pseudo, categories) if settings.pseudo else (),
        pseudo_share=settings.pseudo_share,
        balanced=settings.balanced,
        paste=settings.paste,
        seed=settings.seed,
    )
    return data, validation


def starting_network(model: str, categories: Categories) -> nn.Module:
    """The model's network with its weights, float32 on the CPU; for other categories its last layers are new.

    Raises WeightsError if the weights are not on disk or damaged, UsageError for a name not in the catalogue.
    """
    network = models.load(model)
    if models.categories(model) != categories:
        head = network.classifier
        # torchvision's heads are sequences of layers.
        for name in head.last_layers if hasattr(head, "last_layers") else (str(len(head) - 1),):
            before = head.get_submodule(name)
            layer = nn.Conv2d(before.in_channels, len(categories), before.kernel_size)
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
            setattr(head, name, layer)
    return network


def stages(backbone: nn.Module) -> list[nn.Module]:
    """The parts of a backbone that have parameters, first to last: what `frozen_stages` counts."""
    parts: list[nn.Module] = []
    for name, part in backbone.named_children():
        parts += part.children() if name == "blocks" else [part]
    return [part for part in parts if any(True for _ in part.parameters())]


def freeze(backbone: nn.Module, count: int, *, depthwise: bool = False) -> None:
    """Keep the first `count` stages, and if asked all depthwise kernels. Raises UsageError if there are fewer."""
    parts = stages(backbone)
    if count > len(parts):
        raise UsageError(f"this backbone has {len(parts)} stages; {count} cannot be frozen")
    for part in parts[:count]:
        part.requires_grad_(False)
    for module in backbone.modules() if depthwise else ():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.weight.requires_grad_(False)


def _optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW; biases and batch norm's factors do not decay. Each group's `share` is of the learning rate."""
    groups = []
    for part, share in ((network.backbone, settings.backbone_rate), (network.classifier, 1.0)):
        learning = [each for each in part.parameters() if each.requires_grad]
        for decays in (True, False):
            chosen = [each for each in learning if (each.ndim > 1) == decays]
            decay = settings.weight_decay if decays else 0.0
            groups.append({"params": chosen, "weight_decay": decay, "share": share})
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


@dataclass(eq=False)
class _Training:
    """One run: what its steps share."""

    settings: TrainSettings
    categories: Categories
    data: TrainingSet
    validation: _Validation
    device: str
    state: TrainingState

    def __post_init__(self) -> None:
        self.precision = models.pick_precision(self.settings.precision, self.device)
        self.preprocess = models.preprocess_for(self.settings.model)
        self.core = Core(self.state.network)
        self.class_weights = None
        if self.settings.loss == BALANCED:
            pixels = torch.from_numpy(self.data.pixels(len(self.categories)))
            self.class_weights = losses.balancing_weights(pixels).to(self.device)

    def run(self, on_step: Callable[[StepDone], None] | None, cancel: threading.Event | None) -> None:
        settings, state = self.settings, self.state
        log = TrainingLog(settings.out, state.step)
        started, first = time.monotonic(), state.step
        for crops, votes in self._batches():
            if cancel and cancel.is_set():
                state.save(settings.out, settings.record())
                raise Cancelled(f"training was stopped after {state.step} steps; {settings.out} can be resumed")
            row = self._step(crops, votes)
            state.step = row.step
            last = row.step == settings.steps
            if self.validation and (last or row.step % settings.validate_every == 0):
                row = self._validate(row)
            elif last:
                self._write(settings.out / MODEL_FILE, row)
            log.add(row)
            if last or row.step % settings.save_every == 0:
                state.save(settings.out, settings.record())
                log.plot()
            if on_step:
                left = (time.monotonic() - started) / (row.step - first) * (settings.steps - row.step)
                score = None if math.isnan(row.validation_mean_iou) else row.validation_mean_iou
                on_step(StepDone(row.step, settings.steps, row.loss, row.mean_iou, left, score))
        log.close()

    def _batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of the steps that are left, drawn while the network works on the one before."""
        size, last = self.settings.batch_size, self.settings.steps
        with ThreadPoolExecutor(max_workers=1) as ahead:
            waiting = []
            for step in range(self.state.step + 1, last + 1 + _READ_AHEAD):
                if step <= last:
                    waiting.append(ahead.submit(self.data.batch, step, size))
                if len(waiting) > _READ_AHEAD or (step > last and waiting):
                    yield waiting.pop(0).result()

    def _step(self, crops: np.ndarray, votes: np.ndarray) -> Row:
        settings, network, step = self.settings, self.state.network, self.state.step + 1
        torch.manual_seed(settings.seed + step)  # drop-out's choice depends on the step alone
        rate = learning_rate(settings, step)
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        network.train()
        for part in (network.backbone, network.classifier)[: 1 if settings.batch_size >= _FOR_STATISTICS else 2]:
            _keep_statistics(part)
        logits = self._logits(crops)
        truth = torch.from_numpy(votes).to(self.device)
        loss = losses.cross_entropy(logits, truth, self.class_weights)
        if settings.dice:
            loss = loss + settings.dice * losses.dice(logits, truth[..., 0].long())
        if not torch.isfinite(loss):
            raise SegcoreError(f"the loss is {loss.item()} at step {step}; train again with a lower learning rate")
        self.state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
        self.state.optimizer.step()
        self.state.average.update(network, step)
        prediction = logits.detach().argmax(1).to("cpu", torch.uint8).numpy()
        matrix = metrics.confusion_matrix(votes[..., 0], prediction, len(self.categories))
        return Row(step, rate, loss.item(), metrics.scores(matrix)["mean_iou"])

    def _logits(self, crops: np.ndarray) -> Tensor:
        """uint8 (N, crop, crop, 3) -> float32 (N, classes, crop, crop)."""
        mean, std = (torch.tensor(each, device=self.device) for each in (self.preprocess.mean, self.preprocess.std))
        batch = (torch.from_numpy(crops).to(self.device).float().div_(255) - mean) / std
        kind, dtype = self.device.partition(":")[0], getattr(torch, self.precision)
        with torch.autocast(kind, dtype, enabled=dtype != torch.float32):
            logits = self.core(batch.permute(0, 3, 1, 2))
        return F.interpolate(logits.float(), crops.shape[1:3], mode="bilinear", align_corners=False)

    def _validate(self, row: Row) -> Row:
        """Score the averaged weights on what was held back, and keep them if they are the best so far."""
        candidate = self.settings.out / f"candidate{catalogue.TRAINED_SUFFIX}"
        self._write(candidate, row)
        dataset, ids = self.validation
        images = tuple(dataset.image(number) for number in ids)
        segmenter = Segmenter(candidate, device=self.settings.device, precision=self.settings.precision)
        task = Task(categories=self.categories)
        scores = evaluate(Run(segmenter, dataset, protocol("original"), task, images)).to_dict()["dataset"]
        mean_iou = math.nan if scores["mean_iou"] is None else scores["mean_iou"]
        accuracy = math.nan if scores["pixel_accuracy"] is None else scores["pixel_accuracy"]
        row = replace(row, validation_mean_iou=mean_iou, validation_pixel_accuracy=accuracy)
        if self.state.best is None or mean_iou > self.state.best:
            self.state.best = mean_iou
            self._write(self.settings.out / MODEL_FILE, row)
        candidate.unlink()
        return row

    def _write(self, path: Path, row: Row) -> None:
        provenance = {"made_by": "segcore train", "step": row.step, "settings": self.settings.record()}
        if not math.isnan(row.validation_mean_iou):
            provenance["validation"] = {
                "mean_iou": row.validation_mean_iou,
                "pixel_accuracy": row.validation_pixel_accuracy,
            }
        before = self.preprocess
        header = trained.Header(
            models.network_of(self.settings.model), self.categories, before.size, before.mean, before.std, provenance
        )
        trained.write(path, header, self.state.average.state)


def _keep_statistics(part: nn.Module) -> None:
    """Batch norm as in use, with the statistics of many more photographs than a batch holds."""
    for module in part.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def learning_rate(settings: TrainSettings, step: int) -> float:
    """The head's rate at a step from 1: polynomial decay to 0 (Chen et al. 2017), after some steps of warm-up."""
    warm_up = min(1.0, step / min(_WARM_UP_STEPS, max(1, settings.steps // 10)))
    return settings.learning_rate * warm_up * (1 - (step - 1) / settings.steps) ** _POWER
