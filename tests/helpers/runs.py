"""Runs of an evaluation on a folder of images."""

import copy
import json

from segcore.cli import main
from segcore.evaluation import evaluate
from segcore.evaluation.evaluate import Run
from segcore.evaluation.protocols import protocol
from segcore.inference.task import Task
from segcore.truth.coco import CocoDataset

SHIPPED = "deeplabv3_mobilenet_v2"
# Keys of an evaluation's record that the record of a single image does not have.
OF_SETS = {"images", "skipped", "seconds", "image_mean", "per_image", "origins", "slices", "threshold_curve"}


def refining(segmenter):
    """The same with borders that follow the photographs."""
    other = copy.copy(segmenter)
    other.refine = "edges"
    return other


def make_run(segmenter, folder, *, batch_size=1, task=Task(), name="report", ids=None):  # noqa: B008 (it is frozen)
    dataset = CocoDataset.open(folder)
    images = evaluate.choose_images(dataset, image_ids=ids)
    return Run(segmenter, dataset, protocol(name), task, images, batch_size)


def without_seconds(record):
    return {key: value for key, value in record.items() if key != "seconds"}


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def run_command(folder, tmp_path, *arguments):
    """`evaluate` with the shipped model -> its status, its JSON and the folder of label maps."""
    common = ["evaluate", "--dataset", str(folder), "--model", SHIPPED, "--device", "cpu"]
    outputs = ["--json", str(tmp_path / "scores.json"), "--save-labels", str(tmp_path / "labels")]
    status = main.main([*common, *outputs, *map(str, arguments)])
    return status, json.loads((tmp_path / "scores.json").read_text(encoding="utf-8")), tmp_path / "labels"
