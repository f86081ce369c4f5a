"""Which of the sample photographs the tests mean, and where they are."""

from __future__ import annotations

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


def pixels(file: str | Path) -> np.ndarray:
    """A PNG's pixels, uint8 (H, W, 3); what the page gives must be PNG, since lossy colours mean nothing."""
    with Image.open(file) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))
