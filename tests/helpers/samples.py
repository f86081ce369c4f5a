"""Which of the sample photographs the tests mean, and where they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
# Enough to score: none of the classes, several classes at once, a crowd region, and some of one size.
NINE = (STOP_SIGN, PIZZA, LIFEBOAT, RIDERS, ASTRONAUT, CAT, OFFICER, DOG, PARROT) = (
    *(122745, 160012, 204805, 214753),
    *(900001, 900002, 900004, 900005, 900006),
)


def sample(image_id: int) -> Path:
    """The photograph of an id."""
    return EXAMPLES / "samples" / f"{image_id:012d}.jpg"


def write_samples(folder: Path, ids: Collection[int]) -> Path:
    """Put these samples with their annotations into an empty folder, in COCO's layout; returns the folder."""
    for part in ("annotations", "samples"):
        (folder / part).mkdir()
    name = "annotations/instances_samples.json"
    document = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    document["images"] = [each for each in document["images"] if each["id"] in ids]
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] in ids]
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    for image in document["images"]:
        shutil.copy(EXAMPLES / "samples" / image["file_name"], folder / "samples")
    return folder


def pixels(file: str | Path) -> np.ndarray:
    """A PNG's pixels, uint8 (H, W, 3); what the page gives must be PNG, since lossy colours mean nothing."""
    with Image.open(file) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))
