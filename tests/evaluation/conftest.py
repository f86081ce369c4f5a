"""A quick stand-in for a segmenter, and a data set that a test may damage."""

import shutil

import pytest
import torch
import torch.nn.functional as F

from segcore.inference.segmenter import Segmenter
from tests.helpers.runs import SHIPPED


class QuickNetwork:
    """Logits from the colours of a picture, alike in any batch; says which batches it was given."""

    device, precision = "cpu", "float32"
    weights = torch.randn(21, 3, 1, 1, generator=torch.Generator().manual_seed(5)) * 4

    def __init__(self):
        self.batches = []

    def __call__(self, batch):
        self.batches.append(len(batch))
        return (F.avg_pool2d(batch, 40)[:, None] * self.weights).sum(dim=2)


@pytest.fixture
def quick():
    segmenter = object.__new__(Segmenter)
    segmenter.model, segmenter.resize, segmenter.weights_sha256 = SHIPPED, "squeeze", "0" * 64
    segmenter._source = SHIPPED
    segmenter.predict_logits = QuickNetwork()
    segmenter.on_device = None  # the stand-in has no card to count on, whatever device it names
    segmenter.device, segmenter.precision, segmenter.engine = "cpu", "float32", "torch"
    segmenter.tta, segmenter.calibration, segmenter.refine = False, None, None
    segmenter.temperature = None
    return segmenter


@pytest.fixture
def small_coco(nine_coco, tmp_path):
    """The examples, a copy that may be damaged."""
    folder = tmp_path / "coco"
    shutil.copytree(nine_coco / "annotations", folder / "annotations")
    shutil.copytree(nine_coco / "samples", folder / "samples")
    return folder
