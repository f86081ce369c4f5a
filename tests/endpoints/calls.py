"""What tests of the endpoints ask with, and how they look at the answers."""

import json
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "examples" / "samples"
ASTRONAUT, CAT, DOG = 900001, 900002, 900005


def sample(image_id: int) -> Path:
    return SAMPLES / f"{image_id:012d}.jpg"


def pixels(file: str | Path) -> np.ndarray:
    """A PNG's pixels; what the page gives must be PNG, since lossy colours mean nothing."""
    with Image.open(file) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def without(record: dict, *keys: str) -> dict:
    return {key: value for key, value in record.items() if key not in keys}


def mask_of(result: dict, name: str) -> np.ndarray:
    """bool (H, W): where `/segment` sees a class."""
    [found] = [each for each in result["classes"] if each["name"] == name]
    return coco_mask.decode(found["rle"]).astype(bool)


def raw_call(url: str, endpoint: str, data: list) -> str:
    """Call an endpoint as plain HTTP has it: what the server says in the end, "event: ..." and its data."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    body, headers = json.dumps({"data": data}).encode(), {"Content-Type": "application/json"}
    with opener.open(urllib.request.Request(f"{url}/gradio_api/call/{endpoint}", body, headers)) as answer:
        event = json.load(answer)["event_id"]
    with opener.open(f"{url}/gradio_api/call/{endpoint}/{event}", timeout=300) as answer:
        return answer.read().decode()
