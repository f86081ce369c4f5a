"""What commands write, as the tests look at it."""

import json

import numpy as np
from PIL import Image

SHIPPED = "deeplabv3_mobilenet_v2"


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def read_json(file):
    return json.loads(file.read_text(encoding="utf-8"))


def pixels(file):
    return np.asarray(Image.open(file))
