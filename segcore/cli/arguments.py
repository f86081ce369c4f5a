"""What each command of the command line takes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ..inference.task import BINARY, MULTICLASS
from ..models import catalogue
from .old_names import Renamed

Command = Callable[[argparse.Namespace], int]  # returns the exit status


def parser(description: str, commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser of all commands, by their names; what it reads names the chosen function as `run`."""
    result = argparse.ArgumentParser(prog="segcore", description=description)
    chosen = result.add_subparsers(required=True, metavar="COMMAND")
    for name, run in commands.items():
        command = chosen.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        _ADD[name](command)
    return result


def _add_predict_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("input", nargs="+", type=Path, metavar="INPUT", help="a photograph, or a folder of them")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    command.add_argument("--cutout", action="store_true", help="also the objects on a transparent ground")
    command.add_argument("--probabilities", action="store_true", help="also every class's probability, as .npz")
    _add_model_argument(command)
    _add_task_arguments(command, precision="auto")
    _add_cluster_arguments(command)


def _add_evaluate_arguments(command: argparse.ArgumentParser) -> None:
    _add_dataset_arguments(command)
    command.add_argument("--csv", type=Path, metavar="FILE", help="the same as a table")
    command.add_argument("--figures", type=Path, metavar="DIR", help="photograph, prediction and truth of each image")
    command.add_argument("--save-labels", type=Path, metavar="DIR", help="the label maps that were scored, as PNG")
    _add_model_argument(command)
    _add_task_arguments(command, precision="float32")
    _add_cluster_arguments(command)


def _add_compare_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--models", type=_models, required=True, metavar="A,B", help="two of the catalogue's")
    _add_dataset_arguments(command)
    _add_task_arguments(command, precision="float32")


def _add_fetch_weights_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", type=model_name, metavar="NAME", help=f"one of: {', '.join(catalogue.CATALOGUE)}")
    command.add_argument("--base-url", metavar="URL", help="a mirror: URL/<the published file's name>")


def _add_fetch_coco_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--to", type=Path, required=True, metavar="DIR", help="where the folder in COCO's layout is")
    command.add_argument("--split", default="val2017", help="val2017 (default) or train2017")
    command.add_argument("--count", type=int, required=True, metavar="N", help="how many images")
    command.add_argument("--classes", type=_names, default=(), metavar="cat,dog", help="only images with any of these")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="which images; the same for the same seed")
    command.add_argument("--base-url", metavar="URL", help="a mirror: URL/annotations/..., URL/<split>/...")
    command.add_argument("--max-gb", type=float, default=4.0, metavar="GB", help="what DIR may take on disk; default 4")


def _add_train_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    _add_dataset_argument(command)
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="for the model, its curves and the checkpoint",
    )
    add("--resume", action="store_true", help="go on with the run in --out that was stopped")
    names = ", ".join(catalogue.CATALOGUE)
    add("--model", type=model_name, default=catalogue.SHIPPED,
        help=f"where to start: the file of a trained model, or one of: {names}")  # fmt: skip
    add("--mode", default=MULTICLASS, choices=(MULTICLASS, BINARY))
    add("--categories", default="own", choices=("own", "voc"), help="the dataset's own (default), or VOC's 20")
    add("--class", dest="class_name", default="any", metavar="NAME", help="in binary mode; default any")
    add("--steps", type=int, default=1000, metavar="N")
    add("--batch-size", type=int, default=8, metavar="N", help="crops a step; default 8")
    add("--crop", type=int, default=256, metavar="PIXELS", help="side of the crops; default 256")
    add("--learning-rate", type=float, default=1e-3, metavar="X", help="of the head, at first; default 0.001")
    add("--backbone-rate", type=float, default=0.3, metavar="X", help="the backbone's, as a share of it; default 0.3")
    add("--weight-decay", type=float, default=0.01, metavar="X")
    add(
        "--loss",
        default="plain",
        choices=("plain", "balanced"),
        help="cross entropy; balanced: rare classes count more",
    )
    add("--dice", type=float, default=0.0, metavar="X", help="what the Dice loss counts beside it; default 0")
    add("--frozen-stages", type=int, default=0, metavar="N", help="of the backbone, from the first; default 0")
    add("--frozen-depthwise", action="store_true", help="keep the backbone's depthwise kernels; quicker on a CPU")
    add("--average", type=float, default=0.995, metavar="X", help="moving average of the weights; default 0.995")
    add("--output-stride", type=int, choices=(8, 16), help="of the shipped network; default: as in --model")
    pairs = {"type": Path, "nargs": 2, "metavar": ("IMAGES", "LABELS"), "action": "append", "default": []}
    add("--truth", **pairs, help="more photographs and their label maps (PNG, 255 ignored); may be given several times")
    add("--incomplete-truth", **pairs, help="likewise, where label maps leave objects out; needs --teacher")
    add("--truth-share", type=float, default=0.5, metavar="X", help="of the crops, of both; default 0.5")
    add("--incomplete", action="store_true", help="the dataset itself leaves objects out; needs --teacher")
    add("--leave-out", type=_names, default=(), metavar="NAMES",
        help="photographs that nothing is learned from: file names without suffix, by commas")  # fmt: skip
    add("--unlabelled", type=Path, action="append", default=[], metavar="IMAGES",
        help="photographs without labels; needs --teacher; may be given several times")  # fmt: skip
    add("--unlabelled-share", type=float, default=0.2, metavar="X", help="of the crops; default 0.2")
    add("--teacher", metavar="MODEL", help="a model, by name or file, whose probabilities are learned from as well")
    add("--teacher-share", type=float, default=0.3, metavar="X", help="what it counts beside the truth; default 0.3")
    add("--cache", type=Path, metavar="DIR", help="keeps the teacher's probabilities, for several runs; default --out")
    add("--pseudo", type=Path, nargs=2, metavar=("IMAGES", "LABELS"),
        help="photographs, and label maps (and .npz) as `predict` writes them, to be mixed in")  # fmt: skip
    add("--scale", type=float, nargs=2, default=(0.5, 1.6), metavar=("LEAST", "MOST"),
        help="of the photographs, 1 being the size in use; default 0.5 1.6")  # fmt: skip
    add("--paste", type=float, default=0.0, metavar="X",
        help="share of crops that an object of another photograph is pasted onto; default 0")  # fmt: skip
    add("--pseudo-share", type=float, default=0.5, metavar="X", help="of the crops; default 0.5")
    add(
        "--balanced", type=float, default=0.75, metavar="X", help="share of crops on a class drawn evenly; default 0.75"
    )
    add("--centred", type=float, default=1.0, metavar="X", help="share of these centred on the class; default 1")
    add("--validation-split", metavar="SPLIT", help="validate on another split; default: on images held back")
    add("--hold-back", type=float, default=0.1, metavar="X", help="share of images to validate on; default 0.1")
    add("--validate-every", type=int, default=500, metavar="N", help="steps; default 500, and at the end")
    add("--save-every", type=int, default=100, metavar="N", help="steps between checkpoints; default 100")
    add("--seed", type=int, default=0, metavar="N")
    add("--device", default="auto", help="auto (default), cuda, mps or cpu")
    add("--precision", default="auto", help="auto (default), float32 or bfloat16, which is mixed with float32")


def _add_dataset_argument(command: argparse.ArgumentParser) -> None:
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


def _add_dataset_arguments(command: argparse.ArgumentParser) -> None:
    _add_dataset_argument(command)
    command.add_argument(
        "--skip-bad", action="store_true", help="leave out, and name, the images whose annotations are broken"
    )
    command.add_argument("--protocol", default="original", help="original (default), torchvision or report")
    command.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    command.add_argument(
        "--image-ids", type=_names, metavar="1,2", help="only these images: COCO's numbers, VOC's names"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write every score, per class and per image")
    command.add_argument("--html", type=Path, metavar="FILE", help="a report with figures, in one file")
    command.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="keep progress here and go on from it; figures and label maps of images done before are not written again",
    )
    command.add_argument("--batch-size", type=int, default=1, metavar="N", help="images through the network at once")


def _add_model_argument(command: argparse.ArgumentParser) -> None:
    names = ", ".join(catalogue.CATALOGUE)
    command.add_argument(
        "--model",
        type=model_name,
        default=catalogue.AUTO,
        help=f"auto (default), the file of a trained model, or: {names}",
    )


def _add_task_arguments(command: argparse.ArgumentParser, *, precision: str) -> None:
    command.add_argument("--mode", default=MULTICLASS, choices=(MULTICLASS, BINARY))
    command.add_argument(
        "--class", dest="class_name", default="any", metavar="NAME", help="in binary mode; default any"
    )
    command.add_argument(
        "--threshold", type=_threshold, metavar="auto|T", help="in binary mode; auto: the likeliest class"
    )
    command.add_argument(
        "--resize", default="squeeze", choices=("squeeze", "aspect"), help="default: squeeze to 520 x 520"
    )
    command.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    command.add_argument(
        "--precision", default=precision, help=f"auto, float32, bfloat16 or int8 (by openvino); default {precision}"
    )
    command.add_argument(
        "--engine", default="auto", help="auto (default), torch, or openvino, quicker on a CPU where it is installed"
    )
    command.add_argument("--calibration", type=Path, metavar="DIR", help="photographs to measure int8 by")
    command.add_argument("--careful", action="store_true", help="look six times and average: six times slower")
    command.add_argument(
        "--refine", type=_refine, metavar="edges|none", help="edges: borders follow the photograph's; default none"
    )


def _add_cluster_arguments(command: argparse.ArgumentParser) -> None:
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
    """The model's name of today; says so on stderr where a former one was given."""
    if name in catalogue.FORMER_NAMES:
        print(f"segcore: {catalogue.former_name_notice(name)}", file=sys.stderr)
    return catalogue.FORMER_NAMES.get(name, name)


def _models(text: str) -> list[str]:
    return [model_name(name) for name in text.split(",")]


def _threshold(text: str) -> float | None:
    try:
        return None if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected auto or a probability from 0 to 1, got {text!r}") from None


def _refine(text: str) -> str | None:
    return None if text == "none" else text


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


_ADD: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "predict": _add_predict_arguments,
    "evaluate": _add_evaluate_arguments,
    "compare": _add_compare_arguments,
    "models": lambda command: None,
    "fetch-weights": _add_fetch_weights_arguments,
    "fetch-coco": _add_fetch_coco_arguments,
    "train": _add_train_arguments,
}
