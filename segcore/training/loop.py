"""The training loop: steps, validation and checkpoints."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..categories import Categories
from ..errors import Cancelled, SegcoreError
from ..evaluation.evaluate import Run, evaluate
from ..evaluation.protocols import protocol
from ..inference.predictor import Core, pick_precision
from ..inference.segmenter import Segmenter
from ..inference.task import Task
from ..metrics import confusion
from ..models import catalogue, checkpoint, loading
from ..truth.dataset import Dataset, ImageId
from . import losses
from .dataset import TrainingSet
from .log import Row, TrainingLog
from .settings import BALANCED, StepDone, TrainSettings
from .soft_labels import CERTAIN
from .state import TrainingState

MODEL_FILE = "model.safetensors"
_WARM_UP_STEPS = 50
_POWER = 0.9  # exponent of the polynomial learning rate, as in DeepLab
_GRADIENT_NORM = 5.0
_READ_AHEAD = 2  # batches
_FOR_STATISTICS = 8  # crops: with a smaller batch the head's batch norm keeps its initial statistics
Validation = tuple[Dataset, list[ImageId]] | None  # the ids of the images


@dataclass(eq=False)
class Training:
    """One training run: the objects that all steps share, and the method `step`."""

    settings: TrainSettings
    categories: Categories
    data: TrainingSet
    validation: Validation
    device: str
    state: TrainingState

    def __post_init__(self) -> None:
        self.precision = pick_precision(self.settings.precision, self.device)
        self.preprocess = loading.preprocess_for(self.settings.model)
        self.core = Core(self.state.network)
        self.class_weights = None
        if self.settings.loss == BALANCED:
            pixels = torch.from_numpy(self.data.pixels())
            self.class_weights = losses.balancing_weights(pixels).to(self.device)

    def run(self, on_step: Callable[[StepDone], None] | None, cancel: threading.Event | None) -> None:
        settings, state = self.settings, self.state
        log = TrainingLog(settings.out, state.step)
        started, first = time.monotonic(), state.step
        for crops, shares in self._batches():
            if cancel and cancel.is_set():
                state.save(settings.out, settings.record())
                raise Cancelled(f"training was stopped after {state.step} steps; {settings.out} can be resumed")
            row = self.step(crops, shares)
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
        """Yield the batches of the remaining steps. A thread draws the next batches while the network works."""
        size, last = self.settings.batch_size, self.settings.steps
        with ThreadPoolExecutor(max_workers=1) as ahead:
            waiting = []
            for step in range(self.state.step + 1, last + 1 + _READ_AHEAD):
                if step <= last:
                    waiting.append(ahead.submit(self.data.batch, step, size))
                if len(waiting) > _READ_AHEAD or (step > last and waiting):
                    yield waiting.pop(0).result()

    def step(self, crops: np.ndarray, shares: np.ndarray) -> Row:
        """Train on the crops and soft labels of one `TrainingSet.batch`."""
        settings, network, step = self.settings, self.state.network, self.state.step + 1
        torch.manual_seed(settings.seed + step)  # drop-out depends only on the seed and the step
        rate = learning_rate(settings, step)
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        network.train()
        for part in ("backbone", "classifier")[: 1 if settings.batch_size >= _FOR_STATISTICS else 2]:
            _keep_statistics(network.get_submodule(part))
        truth = torch.from_numpy(shares).to(self.device).float() / CERTAIN
        logits = self._logits(crops, truth.shape[-2:])
        loss = losses.cross_entropy(logits, truth, self.class_weights)
        labels = losses.hard_labels(truth)
        if settings.dice:
            loss = loss + settings.dice * losses.dice(logits, labels)
        if not torch.isfinite(loss):
            raise SegcoreError(f"the loss is {loss.item()} at step {step}; train again with a lower learning rate")
        self.state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
        self.state.optimizer.step()
        self.state.average.update(network, step)
        prediction = logits.detach().argmax(1).to("cpu", torch.uint8).numpy()
        matrix = confusion.confusion_matrix(labels.to("cpu", torch.uint8).numpy(), prediction, len(self.categories))
        return Row(step, rate, loss.item(), confusion.scores(matrix)["mean_iou"])

    def _logits(self, crops: np.ndarray, size_hw: Sequence[int]) -> Tensor:
        """uint8 (N, crop, crop, 3) -> float32 (N, classes, *size_hw)."""
        mean, std = (torch.tensor(each, device=self.device) for each in (self.preprocess.mean, self.preprocess.std))
        batch = (torch.from_numpy(crops).to(self.device).float().div_(255) - mean) / std
        kind, dtype = self.device.partition(":")[0], getattr(torch, self.precision)
        with torch.autocast(kind, dtype, enabled=dtype != torch.float32):
            logits = self.core(batch.permute(0, 3, 1, 2))
        return F.interpolate(logits.float(), size_hw, mode="bilinear", align_corners=False)

    def _validate(self, row: Row) -> Row:
        """Score the averaged weights on the validation images, and keep them if they are the best so far."""
        candidate = self.settings.out / f"candidate{catalogue.TRAINED_SUFFIX}"
        self._write(candidate, row)
        assert self.validation is not None
        dataset, ids = self.validation
        images = tuple(dataset.image(number) for number in ids)
        segmenter = Segmenter(str(candidate), device=self.settings.device, precision=self.settings.precision)
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
        provenance: dict[str, Any] = {"program": "segcore train", "step": row.step, "settings": self.settings.record()}
        if not math.isnan(row.validation_mean_iou):
            provenance["validation"] = {
                "mean_iou": row.validation_mean_iou,
                "pixel_accuracy": row.validation_pixel_accuracy,
            }
        before = self.preprocess
        header = checkpoint.Header(
            loading.network_of(self.settings.model),
            self.categories,
            before.size,
            before.mean,
            before.std,
            provenance,
            self.settings.output_stride or loading.trained_stride(self.settings.model),
        )
        checkpoint.write(path, header, self.state.average.state)


def _keep_statistics(part: nn.Module) -> None:
    """Set batch norm to eval mode. Its statistics come from many more photographs than a batch has."""
    for module in part.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Return the head's learning rate at a step (from 1): warm-up, then polynomial decay to 0 (Chen et al. 2017)."""
    warm_up = min(1.0, step / min(_WARM_UP_STEPS, max(1, settings.steps // 10)))
    return settings.learning_rate * warm_up * (1 - (step - 1) / settings.steps) ** _POWER
