"""Fine-tunes a network of the catalogue on a dataset. The result is one file that `Segmenter` loads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..categories import VOC, Categories
from ..classes import BACKGROUND
from ..errors import UsageError
from ..files.locks import lock_or_refuse
from ..inference.predictor import pick_device
from ..inference.segmenter import Segmenter
from ..inference.task import MULTICLASS
from ..models import loading
from ..truth.layouts import own_categories
from .augment import Augmentation
from .dataset import Pool, TrainingSet, annotated, check_apart, checked_dataset, paired, unlabelled
from .depthwise import quicken
from .example import Example
from .loop import MODEL_FILE, Training, Validation
from .settings import VOC_CATEGORIES, StepDone, TrainSettings
from .soft_labels import SoftLabels
from .state import CHECKPOINT, MovingAverage, TrainingState

_LOCK = ".lock"


def choose_categories(settings: TrainSettings) -> Categories:
    """Return the trained model's categories. Raises UsageError for a class that the dataset does not have."""
    if settings.categories == VOC_CATEGORIES:
        known = VOC
    else:
        known = own_categories(settings.coco, settings.split)
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
    on_soft_label: Callable[[int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Fine-tune a model. Returns the path of the result, `out`/model.safetensors.

    resume: continue from `out`/checkpoint.pt. The result is the same as without the interruption, because batches,
    drop-out and everything else that is random depend only on the seed and the step.
    on_soft_label(done, total): is called for photographs that the teacher has labelled, before the first step.

    Raises AnnotationError with all problems of the dataset before training begins; UsageError if `out` holds an earlier
    run and `resume` is False, or a run with other settings, or if another training is writing to it; WeightsError if
    the initial weights are not on disk; Cancelled, after writing the checkpoint.
    """
    out = settings.out
    _check_folder(out, resume)
    out.mkdir(parents=True, exist_ok=True)
    with lock_or_refuse(out / _LOCK, f"another training is writing to {out}; wait for it, or name another folder"):
        training = prepare(settings, on_soft_label=on_soft_label, cancel=cancel)
        if resume and (out / CHECKPOINT).exists():
            training.state.restore(out, settings.record())
        training.run(on_step, cancel)
    return out / MODEL_FILE


def prepare(
    settings: TrainSettings,
    *,
    on_soft_label: Callable[[int, int | None], None] | None = None,
    cancel: threading.Event | None = None,
) -> Training:
    """Prepare a training up to its first step. Raises as `train` does."""
    categories = choose_categories(settings)
    examples, validation = _dataset(settings, categories)
    pools = _pools(settings, examples, categories)
    if settings.leave_out:
        also = [source.path(each) for source, held_back in [validation] for each in held_back] if validation else []
        pools = _left(settings.leave_out, pools, also)
    if validation:
        source, held_back = validation
        learned = pools if settings.validation_split else pools[1:]  # held-back images come from the first pool
        check_apart([each.path for pool in learned for each in pool.examples], [*map(source.path, held_back)])
    settings.out.mkdir(parents=True, exist_ok=True)
    teacher = _soft_labels(settings, categories, pools, on_soft_label, cancel)
    data = _training_set(settings, categories, pools, teacher)

    device = pick_device(settings.device)
    torch.manual_seed(settings.seed)  # for the head's new layers
    network = starting_network(settings.model, categories, settings.output_stride)
    network = network.to(device).to(memory_format=torch.channels_last)
    freeze(network.get_submodule("backbone"), settings.frozen_stages, depthwise=settings.frozen_depthwise)
    if device == "cpu":
        quicken(network)
    state = TrainingState(network, _optimizer(network, settings), MovingAverage(network, settings.average))
    return Training(settings, categories, data, validation, device, state)


def _check_folder(out: Path, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder for the results")
    if not resume and any((out / name).exists() for name in (CHECKPOINT, MODEL_FILE)):
        raise UsageError(f"{out} holds an earlier run; resume it, or name another folder")


def _dataset(settings: TrainSettings, categories: Categories) -> tuple[list[Example], Validation]:
    """Return the dataset's training examples, and the validation images."""
    dataset = checked_dataset(settings.coco, settings.split, categories)
    if settings.paste and not dataset.has_objects:
        raise UsageError("label maps do not tell objects apart, so none can be pasted; leave pasting out")
    ids = [image.id for image in dataset.images]
    validation = None
    if settings.validation_split:
        other = checked_dataset(settings.coco, settings.validation_split, categories)
        if other.split == dataset.split:
            raise UsageError(f"{other.split!r} is what is trained on; name another split to validate on")
        validation = other, [image.id for image in other.images]
    elif settings.hold_back:
        np.random.default_rng(settings.seed).shuffle(ids)
        count = max(1, round(settings.hold_back * len(ids)))
        validation = dataset, sorted(ids[:count])
        ids = sorted(ids[count:])
    return annotated(dataset, ids, incomplete=settings.incomplete), validation


def _pools(settings: TrainSettings, examples: list[Example], categories: Categories) -> list[Pool]:
    """Return all pools of training examples, the dataset first."""
    pairs = [(pair, False) for pair in settings.truth] + [(pair, True) for pair in settings.incomplete_truth]
    truth = [each for pair, incomplete in pairs for each in paired(*pair, categories, incomplete=incomplete)]
    others = [
        Pool(truth, settings.truth_share),
        Pool([each for folder in settings.unlabelled for each in unlabelled(folder)], settings.unlabelled_share),
        Pool(paired(*settings.pseudo, categories) if settings.pseudo else (), settings.pseudo_share),
    ]
    return [Pool(examples, settings.dataset_share), *(pool for pool in others if pool.examples)]


def _left(leave_out: Sequence[str], pools: list[Pool], validated: list[Path]) -> list[Pool]:
    """Return the pools without the named photographs. Raises UsageError for a name that no photograph has."""
    there = {path.stem for path in validated} | {each.path.stem for pool in pools for each in pool.examples}
    if missing := sorted(set(leave_out) - there):
        raise UsageError(f"no photograph is called {', '.join(missing)}; leave out by file name, without its suffix")
    return [Pool([each for each in pool.examples if each.path.stem not in leave_out], pool.share) for pool in pools]


def _soft_labels(
    settings: TrainSettings,
    categories: Categories,
    pools: list[Pool],
    progress: Callable[[int, int | None], None] | None,
    cancel: threading.Event | None,
) -> SoftLabels | None:
    """Compute the teacher's soft labels of all photographs that have no soft labels from another model."""
    if not settings.teacher:
        return None
    segmenter = Segmenter(
        settings.teacher, device=settings.device, precision=settings.precision, resize=settings.teacher_resize
    )
    if segmenter.categories != categories:
        raise UsageError(f"the teacher {settings.teacher} tells other things apart; choose one that knows the same")
    examples = [example for pool in pools for example in pool.examples if example.soft is None]
    result = SoftLabels(settings.cache or settings.out, segmenter, examples)
    result.compute(progress, cancel)
    return result


def _training_set(
    settings: TrainSettings, categories: Categories, pools: list[Pool], teacher: SoftLabels | None
) -> TrainingSet:
    return TrainingSet(
        pools,
        Augmentation(settings.crop, loading.preprocess_for(settings.model).size, settings.scale),
        len(categories),
        settings.out,
        balanced=settings.balanced,
        centred=settings.centred,
        paste=settings.paste,
        teacher=teacher,
        teacher_share=settings.teacher_share,
        seed=settings.seed,
    )


def starting_network(model: str, categories: Categories, output_stride: int | None = None) -> nn.Module:
    """Load the model's network, float32 on the CPU. If the categories differ, its last layers are replaced.

    output_stride: as in `models.load`.
    Raises WeightsError if the weights are not on disk or damaged, UsageError for a name not in the catalogue.
    """
    network = loading.load(model, output_stride=output_stride)
    if loading.categories(model) != categories:
        head: Any = network.classifier
        # torchvision's heads are sequences of layers.
        for name in head.last_layers if hasattr(head, "last_layers") else (str(len(head) - 1),):
            before = head.get_submodule(name)
            layer: Any = nn.Conv2d(before.in_channels, len(categories), before.kernel_size)
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
            setattr(head, name, layer)
    return network


def stages(backbone: nn.Module) -> list[nn.Module]:
    """Return the parts of a backbone that have parameters, in order. `frozen_stages` counts them."""
    parts: list[nn.Module] = []
    for name, part in backbone.named_children():
        parts += part.children() if name == "blocks" else [part]
    return [part for part in parts if any(True for _ in part.parameters())]


def freeze(backbone: nn.Module, count: int, *, depthwise: bool = False) -> None:
    """Freeze the first `count` stages, and optionally all depthwise kernels. Raises UsageError if there are fewer."""
    parts = stages(backbone)
    if count > len(parts):
        raise UsageError(f"this backbone has {len(parts)} stages; {count} cannot be frozen")
    for part in parts[:count]:
        part.requires_grad_(False)
    for module in backbone.modules() if depthwise else ():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.weight.requires_grad_(False)


def _optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Make AdamW without weight decay for biases and batch norm. A group's `share` scales its learning rate."""
    new_parts = getattr(network.classifier, "new_parts", None)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        part, below = name.split(".")[:2]
        is_new = part == "classifier" and (new_parts is None or below in new_parts)
        key = 1.0 if is_new else settings.backbone_rate, settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": chosen, "weight_decay": decay, "share": share} for (share, decay), chosen in groups.items()],
        lr=settings.learning_rate,
    )
