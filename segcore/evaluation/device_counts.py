"""Predicts and counts on the graphics card that has the logits. Only label maps and counts are copied back."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from ..inference import device_upsampling
from ..inference.task import Task
from ..inference.torch_core import is_card
from ..metrics import confusion
from .counts import Counts, check_categories, counts_of
from .run import Run


def counts_on_card(run: Run) -> bool:
    """Whether a run predicts and counts on a graphics card.

    It does not with a threshold, which needs the CPU's exact probabilities, nor with refined borders.
    """
    segmenter = run.segmenter
    on_card = is_card(segmenter.device) and getattr(segmenter, "on_device", None) is not None
    return on_card and run.task.threshold is None and not segmenter.refine


def predict_and_count(
    logits: Tensor, truth: np.ndarray, task: Task, temperature: float | None = None
) -> tuple[np.ndarray, Counts]:
    """Return the prediction, uint8 (H, W), and its counts. logits: float32 (classes, h, w) on any device.

    truth, temperature and errors: as in `counts.count`. The prediction and the confusion matrix equal the CPU's.
    """
    check_categories(logits, task)
    judge = functools.partial(device_upsampling.decide_and_judge, binary=task.binary, object_id=task.object_id)
    there = torch.tensor(truth).to(logits.device)
    labels, judged = judge(logits, there)
    before = judged
    if temperature is not None:
        before = judge(logits * temperature, there, prediction=labels)[1]
    matrix = confusion.matrix_of_pairs(device_upsampling.count_pairs(there, labels).cpu().numpy(), task.num_classes)
    prediction = labels.cpu().numpy()
    return prediction, counts_of(matrix, prediction, truth, judged, before)
