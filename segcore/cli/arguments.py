"""The options that several commands take."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..evaluation.protocols import PROTOCOLS
from ..inference.task import BINARY, MULTICLASS
from ..models import catalogue
from .old_names import Renamed, RenamedSwitch

DEVICES = "auto (default), cuda, cuda:N for one of several cards, mps or cpu"


def add_dataset_argument(command: argparse.ArgumentParser) -> None:
    """The dataset with its split."""
    command.add_argument(
        *("--dataset", "--coco"),
        action=Renamed,
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder of photographs with their truth in COCO's layout or PASCAL VOC's; --coco is its old name",
    )
    command.add_argument(
        "--split",
        help="which of COCO's annotations/instances_<SPLIT>.json or VOC's ImageSets/Segmentation/<SPLIT>.txt; may be "
        "left out where there is one",
    )


def add_scoring_arguments(command: argparse.ArgumentParser) -> None:
    """The images to score, the protocol, and the output files."""
    add_dataset_argument(command)
    command.add_argument(
        "--skip-bad", action="store_true", help="leave out images with broken annotations, and name them"
    )
    command.add_argument("--protocol", default="original", help=f"{', '.join(PROTOCOLS)}; by default original")
    command.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    command.add_argument(
        "--image-ids", type=comma_separated, metavar="1,2", help="only these images: COCO's numbers, VOC's names"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write every score, per class and per image")
    command.add_argument("--html", type=Path, metavar="FILE", help="write a report with charts, in one file")
    command.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="keep the progress in DIR and continue from it; figures and label maps of finished images are not written "
        "again",
    )
    command.add_argument(
        "--batch-size", type=int, default=1, metavar="N", help="images that go through the network together; default 1"
    )


def add_mode_arguments(command: argparse.ArgumentParser) -> None:
    """The mode, and the class of binary mode."""
    command.add_argument(
        "--mode",
        default=MULTICLASS,
        choices=(MULTICLASS, BINARY),
        help="multiclass (default): all classes; binary: one class against everything else",
    )
    command.add_argument(
        "--class", dest="class_name", default="any", metavar="NAME", help="in binary mode: the class; default any"
    )


def add_model_argument(command: argparse.ArgumentParser) -> None:
    """One model."""
    names = ", ".join(catalogue.CATALOGUE)
    command.add_argument(
        "--model",
        type=model_name,
        default=catalogue.AUTO,
        help="auto (default: ResNet-101 if its weights are on disk, else the small model), a trained model's file, "
        f"hf:USER/NAME, module:function for a network of your own, or: {names}",
    )


def add_task_arguments(command: argparse.ArgumentParser, *, precision: str) -> None:
    """The task, and how the model computes it. precision: the default of --precision."""
    add_mode_arguments(command)
    command.add_argument(
        "--threshold",
        type=_threshold,
        metavar="auto|T",
        help="in binary mode: the least probability of the class, 0 to 1; auto (default): it is the most likely class",
    )
    command.add_argument(
        "--resize",
        default="squeeze",
        choices=("squeeze", "aspect"),
        help="squeeze (default): to 520 x 520; aspect: the shorter side to 520",
    )
    command.add_argument("--device", default="auto", help=DEVICES)
    command.add_argument(
        "--precision",
        default=precision,
        help=f"auto, float32, bfloat16, float16 (graphics cards) or int8 (by openvino); default {precision}",
    )
    command.add_argument(
        "--engine",
        default="auto",
        help="auto (default), torch, or an optional one for CPUs: openvino, which is faster, or onnxruntime (float32)",
    )
    command.add_argument(
        "--calibration", type=Path, metavar="DIR", help="photographs to calibrate int8 with; default: the samples"
    )
    command.add_argument(
        *("--tta", "--careful"),
        action=RenamedSwitch,
        help="test-time augmentation: average over three sizes, each also mirrored; six times slower. --careful is its "
        "old name",
    )
    command.add_argument(
        "--refine", type=_refine, metavar="edges|none", help="edges: borders follow the photograph's; default none"
    )


def add_cluster_arguments(command: argparse.ArgumentParser) -> None:
    """Several workers instead of this process."""
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="share the work among N processes with Ray, on this machine unless --ray says where else",
    )
    command.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="share the work among the machines of a Ray cluster: HOST:PORT, or auto for the one this machine is in",
    )


def model_name(name: str) -> str:
    """Return the model's current name. Print a notice on stderr if a former name was given."""
    if name in catalogue.FORMER_NAMES:
        print(f"segcore: {catalogue.former_name_notice(name)}", file=sys.stderr)
    return catalogue.FORMER_NAMES.get(name, name)


def comma_separated(text: str) -> list[str]:
    """Split a comma-separated list, without the spaces around its items."""
    return [part.strip() for part in text.split(",")]


def _threshold(text: str) -> float | None:
    try:
        return None if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected auto or a probability from 0 to 1, got {text!r}") from None


def _refine(text: str) -> str | None:
    return None if text == "none" else text
