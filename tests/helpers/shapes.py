"""A dataset of shapes, which is learned in seconds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from segcore.training.settings import TrainSettings

SHAPES = {"box": (200, 40, 40), "disc": (40, 60, 210)}  # the categories, and how they look
GRASS = (70, 150, 60)


def draw_shapes(folder, count=3, split="train", size=(160, 120), ground=GRASS):
    """A dataset of large shapes on grass in COCO's layout, and the label maps that it ought to give."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images, annotations, truth = [], [], {}
    width, height = size
    for number in range(1, count + 1):
        picture, labels = Image.new("RGB", size, ground), Image.new("L", size)
        for category, (shape, left) in enumerate((("box", 10), ("disc", 85)), start=1):
            top = 5 + 12 * (number % 5)
            outline = [(left, top), (left + 60, top), (left + 60, top + 60), (left, top + 60)]
            if shape == "disc":
                angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
                outline = [(left + 30 + 30 * math.cos(a), top + 30 + 30 * math.sin(a)) for a in angles]
            ImageDraw.Draw(picture).polygon(outline, fill=SHAPES[shape])
            ImageDraw.Draw(labels).polygon(outline, fill=category)
            flat = [float(value) for point in outline for value in point]
            annotations.append(
                {"id": 10 * number + category, "image_id": number, "category_id": category, "segmentation": [flat]}
            )
        picture.save(folder / split / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
        truth[number] = np.array(labels)
    categories = [{"id": number, "name": name} for number, name in enumerate(SHAPES, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return truth


def quick(folder, out, **changes):
    settings = TrainSettings(
        coco=folder,
        out=out,
        split="train",
        steps=4,
        batch_size=2,
        crop=64,
        hold_back=0.0,
        save_every=2,
        precision="float32",
    )
    return replace(settings, **changes)


def edit(folder, change):
    path = folder / "annotations" / "instances_train.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
