"""`segcore train`: a model fine-tuned on images whose truth is known."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..models import catalogue
from ..training.settings import StepDone, TrainSettings
from .arguments import DEVICES, add_dataset_argument, add_mode_arguments, comma_separated, model_name
from .common import DONE
from .progress import progress_bar

_TOLD_STEPS = 20  # between two lines of progress where stderr is no terminal


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_dataset_argument(command)
    add_mode_arguments(command)
    _add_learning_arguments(command.add_argument)
    _add_photograph_arguments(command.add_argument)
    _add_validation_arguments(command.add_argument)


def _add_learning_arguments(add: Callable[..., Any]) -> None:
    """The network, and how it is trained."""
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder for the model, its curves and the checkpoint",
    )
    add("--resume", action="store_true", help="continue the stopped run in --out")
    names = ", ".join(catalogue.CATALOGUE)
    add("--model", type=model_name, default=catalogue.SHIPPED,
        help=f"the initial weights: the file of a trained model, or one of: {names}")  # fmt: skip
    add("--categories", default="own", choices=("own", "voc"), help="the dataset's own (default), or VOC's 20")
    add("--steps", type=int, default=1000, metavar="N", help="training steps; default 1000")
    add("--batch-size", type=int, default=8, metavar="N", help="crops per step; default 8")
    add("--crop", type=int, default=256, metavar="PIXELS", help="side of the crops; default 256")
    add("--learning-rate", type=float, default=1e-3, metavar="X", help="initial rate of the head; default 0.001")
    add(
        "--backbone-rate",
        type=float,
        default=0.3,
        metavar="X",
        help="the backbone's rate, relative to the head's; default 0.3",
    )
    add("--weight-decay", type=float, default=0.01, metavar="X", help="of AdamW; default 0.01")
    add(
        "--loss",
        default="plain",
        choices=("plain", "balanced"),
        help="cross entropy, plain (default) or balanced: rare classes count more",
    )
    add("--dice", type=float, default=0.0, metavar="X", help="weight of the Dice loss beside it; default 0")
    add(
        "--frozen-stages",
        type=int,
        default=0,
        metavar="N",
        help="number of first stages of the backbone to freeze; default 0",
    )
    add("--frozen-depthwise", action="store_true", help="freeze the backbone's depthwise kernels; faster on a CPU")
    add("--average", type=float, default=0.995, metavar="X", help="decay of the weights' moving average; default 0.995")
    add("--output-stride", type=int, choices=(8, 16), help="of the shipped network; default: as in --model")


def _add_photograph_arguments(add: Callable[..., Any]) -> None:
    """Training data beside the dataset, and how crops are cut."""
    pairs = {"type": Path, "nargs": 2, "metavar": ("IMAGES", "LABELS"), "action": "append", "default": []}
    add("--truth", **pairs, help="more photographs and their label maps (PNG, 255 ignored); may be given several times")
    add("--incomplete-truth", **pairs, help="the same for label maps that miss objects; needs --teacher")
    add("--truth-share", type=float, default=0.5, metavar="X",
        help="share of the crops from --truth and --incomplete-truth; default 0.5")  # fmt: skip
    add("--incomplete", action="store_true", help="the dataset itself misses objects; needs --teacher")
    add("--leave-out", type=comma_separated, default=(), metavar="NAMES",
        help="photographs to exclude: file names without suffix, separated by commas")  # fmt: skip
    add("--unlabelled", type=Path, action="append", default=[], metavar="IMAGES",
        help="photographs without labels; needs --teacher; may be given several times")  # fmt: skip
    add("--unlabelled-share", type=float, default=0.2, metavar="X",
        help="share of the crops from --unlabelled; default 0.2")  # fmt: skip
    add("--teacher", metavar="MODEL", help="a model, by name or file, whose probabilities are used as soft labels")
    add("--teacher-resize", default="squeeze", choices=("squeeze", "aspect", "fit"),
        help="the resize of the photographs that the teacher sees; default squeeze")  # fmt: skip
    add("--teacher-share", type=float, default=0.3, metavar="X",
        help="the teacher's weight beside the truth; default 0.3")  # fmt: skip
    add("--cache", type=Path, metavar="DIR", help="folder for the teacher's soft labels of several runs; default --out")
    add("--pseudo", type=Path, nargs=2, metavar=("IMAGES", "LABELS"),
        help="photographs, and label maps (and .npz) that `predict` has written")  # fmt: skip
    add("--scale", type=float, nargs=2, default=(0.5, 1.6), metavar=("LEAST", "MOST"),
        help="minimum and maximum scale of the photographs; 1 is the size in use; default 0.5 1.6")  # fmt: skip
    add("--paste", type=float, default=0.0, metavar="X",
        help="share of crops with a pasted object of another photograph; default 0")  # fmt: skip
    add("--pseudo-share", type=float, default=0.5, metavar="X", help="share of the crops from --pseudo; default 0.5")
    add(
        "--balanced", type=float, default=0.75, metavar="X", help="share of crops for a class drawn first; default 0.75"
    )
    add(
        "--centred",
        type=float,
        default=1.0,
        metavar="X",
        help="share of these that are centred on the class; default 1",
    )


def _add_validation_arguments(add: Callable[..., Any]) -> None:
    """Validation, checkpoints, and the device."""
    add("--validation-split", metavar="SPLIT", help="validate on another split; default: on held-back images")
    add("--hold-back", type=float, default=0.1, metavar="X", help="share of images to validate on; default 0.1")
    add("--validate-every", type=int, default=500, metavar="N",
        help="steps between validations; default 500, and at the end")  # fmt: skip
    add("--save-every", type=int, default=100, metavar="N", help="steps between checkpoints; default 100")
    add("--seed", type=int, default=0, metavar="N", help="of everything that is random; default 0")
    add("--device", default="auto", help=DEVICES)
    add("--precision", default="auto", help="auto (default), float32 or bfloat16, which is mixed with float32")


def run(arguments: argparse.Namespace) -> int:
    """Fine-tune a model on images whose truth is known. The result is one file, which --model accepts."""
    from ..training.train import train

    given = vars(arguments) | {"coco": arguments.dataset}
    chosen = {field.name: given[field.name] for field in fields(TrainSettings)}
    for name in ("pseudo", "scale", "truth", "incomplete_truth", "leave_out", "unlabelled"):
        chosen[name] = _tuples(chosen[name])
    settings = TrainSettings(**chosen)
    with tqdm(desc="train", unit="step", total=settings.steps, disable=None) as bar:

        def show(done: StepDone) -> None:
            bar.update(done.step - bar.n)
            bar.set_postfix_str(f"loss {done.loss:.3f}, mean IoU {done.mean_iou:.2f}", refresh=False)
            if done.validation_mean_iou is not None or (bar.disable and done.step % _TOLD_STEPS == 0):
                bar.write(done.line(), file=sys.stderr)

        with progress_bar("soft labels", "photograph") as looked_at:
            path = train(settings, resume=arguments.resume, on_step=show, on_soft_label=looked_at)
    print(path)
    return DONE


def _tuples(values: Any) -> Any:
    """Convert nested lists to tuples."""
    return tuple(map(_tuples, values)) if isinstance(values, list) else values
