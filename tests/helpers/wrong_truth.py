"""COCO annotations in which some objects are wrong on purpose."""

from __future__ import annotations

import json
import random
from pathlib import Path

from segcore.categories import VOC
from segcore.evaluation.objects import SIZES


def change_objects(annotations: Path, changed: Path, count: int, seed: int) -> set[int]:
    """Remove or relabel one object in each of `count` images, at random. Returns the images' ids.

    annotations: COCO's JSON; the changed one is written to `changed`. Only objects of VOC's classes that are not small
    by COCO's definition are changed, and no crowd regions.
    """
    content = json.loads(annotations.read_text())
    known = {name for names in VOC.also for name in names}
    categories = [each["id"] for each in content["categories"] if each["name"] in known]
    chance = random.Random(seed)
    candidates = [
        each
        for each in content["annotations"]
        if each["category_id"] in categories and not each["iscrowd"] and each["area"] >= SIZES["small"]
    ]
    chance.shuffle(candidates)
    chosen = {each["image_id"]: each for each in reversed(candidates)}
    chosen = dict(chance.sample(sorted(chosen.items()), count))
    for each in chosen.values():
        if chance.random() < 0.5:
            content["annotations"].remove(each)
        else:
            each["category_id"] = chance.choice([other for other in categories if other != each["category_id"]])
    changed.write_text(json.dumps(content))
    return set(chosen)
