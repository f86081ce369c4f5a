"""The command line: any arguments end with 0, 1 or 2, and never with a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from segcore.cli import main
from segcore.cli.common import DONE, FAILED, WRONG_USAGE
from tests.fuzz.oracle import Target, no_warnings

EXAMPLES = Path(__file__).parents[2] / "examples"
OFFLINE = "http://127.0.0.1:9"  # nothing is fetched from there
COMMANDS = {
    "predict": ["--out", "--cutout", "--probabilities", "--model", "--mode", "--class", "--threshold", "--resize"],
    "evaluate": ["--dataset", "--split", "--protocol", "--limit", "--image-ids", "--json", "--csv", "--html"]
    + ["--resume", "--batch-size", "--mode", "--class", "--threshold", "--save-labels", "--figures", "--model"]
    + ["--device", "--predictions"],
    "compare": ["--models", "--dataset", "--split", "--limit", "--image-ids", "--json", "--mode"],
    "models": [],
    "export": ["--model", "--opset"],  # without --to, since an export takes long
    "fetch-weights": [],
    "fetch-coco": ["--to", "--split", "--count", "--classes", "--seed", "--max-gb"],
    "train": ["--dataset", "--split", "--out", "--resume", "--model", "--mode", "--categories", "--class", "--steps"]
    + ["--batch-size", "--crop", "--learning-rate", "--dice", "--average", "--pseudo", "--hold-back", "--seed"]
    + ["--frozen-stages", "--balanced", "--validation-split", "--precision", "--weight-decay", "--save-every"],
}
_ANY = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12) | st.sampled_from(
    ["\udcff", "ü", "-"]
)
_NUMBERS = ["0", "1", "-1", "2", "1e999", "nan", "inf", "0.5", "99999999999999999999", "1,2", "900001", "1_0", "٣"]
_WORDS = ["auto", "binary", "multiclass", "dog", "any", "background", "aspect", "squeeze", "cpu", "cuda:9", "float32"]
_WORDS += [
    "bfloat16",
    "samples",
    "val2017",
    "original",
    "torchvision",
    "report",
    "own",
    "voc",
    "plain",
    "../x",
    "",
    "*",
]
_MODELS = [
    "deeplabv3_mobilenet_v2",
    "deeplabv3_resnet101",
    "broken.safetensors",
    "tests.helpers.colours:three",
    "tests.helpers.colours:raises",
    "tests.helpers.colours:none",
    "no.such.module:x",
    "hf:",
    "hf:a/b/c",
    "hf:../x@y",
    ":",
    "none.safetensors",
    "a,b",
    "maps,maps",
]
_PATHS = [
    "photo.png",
    "broken.jpg",
    "folder",
    "none.jpg",
    "out",
    "tiny",
    "voc",
    "maps",
    "photo.png/x",
    ".",
    "/dev/null",
    "x" * 300,
]
_VALUES = st.sampled_from([*_NUMBERS, *_WORDS, *_MODELS, *_PATHS, str(EXAMPLES)]) | _ANY


@st.composite
def arguments(draw: Any) -> list[str]:
    """A command with flags of its own, of others or of none, and values of any kind; what must be given often is."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    given = [name]
    needed = {"predict": ["photo.png", "--out", "out"]}
    needed |= {each: ["--dataset", draw(st.sampled_from(["tiny", "voc"]))] for each in ("evaluate", "compare", "train")}
    needed |= {"fetch-coco": ["--to", "out", "--count", "1"], "fetch-weights": ["x"]}
    if draw(st.integers(0, 3)):
        given += needed.get(name, [])
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.integers(0, 3)):
            given.append(draw(st.sampled_from(COMMANDS[name] or ["--help"])))
        given.append(draw(_VALUES))
    given += ["--base-url", OFFLINE] if name.startswith("fetch") else []
    # The last one counts: an example may take no longer than it must.
    given += ["--steps", draw(st.sampled_from(["0", "-1", "nan"]))] if name == "train" else []
    return given


@cache
def _files() -> dict[str, bytes]:
    """What the folder holds in which the command runs."""
    picture, labels = io.BytesIO(), io.BytesIO()
    from PIL import Image

    Image.new("RGB", (9, 6), "#808080").save(picture, "PNG")
    Image.new("L", (9, 6), 12).save(labels, "PNG")
    document = {
        "images": [{"id": 1, "file_name": "photo.png", "width": 9, "height": 6}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 5]], "area": 1, "iscrowd": 0}
        ],
        "categories": [{"id": 1, "name": "dog"}],
    }
    photo = picture.getvalue()
    return {
        "photo.png": photo,
        "folder/photo.png": photo,
        "broken.jpg": b"\xff\xd8\xff\xe0 no more",
        "broken.safetensors": b"\x10\0\0\0\0\0\0\0{}              ",
        "tiny/annotations/instances_val2017.json": json.dumps(document).encode(),
        "tiny/val2017/photo.png": photo,
        "maps/photo.png": labels.getvalue(),
        "voc/ImageSets/Segmentation/val.txt": b"photo\nnone\n",
        "voc/JPEGImages/photo.png": photo,
        "voc/SegmentationClass/photo.png": labels.getvalue(),
    }


def check_arguments(argv: list[str]) -> None:
    """The command ends as its contract says; what is wrong is said on stderr."""
    before = Path.cwd()
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    with tempfile.TemporaryDirectory() as folder:
        for name, content in _files().items():
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_bytes(content)
        os.chdir(folder)
        try:
            with no_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main.main(argv)
        except SystemExit as end:  # argparse's own way
            status = end.code
        finally:
            os.chdir(before)
    err.flush()
    said = err.buffer.getvalue().decode()
    assert status in (DONE, FAILED, WRONG_USAGE), status
    assert "Traceback" not in said
    assert status == DONE or said.strip(), "it failed and said nothing"


TARGETS = (Target("command_line", arguments(), check_arguments, smoke=5),)
