"""Commands run in this process, and what they are given."""

import json
import shutil

import pytest
from PIL import Image

from tests.cli.outputs import read_json


@pytest.fixture(autouse=True)
def nothing_downloaded(monkeypatch, tmp_path_factory):
    """What `auto` means must not depend on the machine."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))


@pytest.fixture(scope="session")
def photographs(examples_coco, tmp_path_factory):
    """Small copies of two samples, for speed: a cat of 150 x 100 and a person of 96 x 96."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, number, size in (("cat", 2, (150, 100)), ("person", 1, (96, 96))):
        picture = Image.open(examples_coco / "samples" / f"00000090000{number}.jpg")
        picture.resize(size).save(folder / f"{name}.jpg", quality=95)
    return folder


@pytest.fixture
def cat(photographs):
    return photographs / "cat.jpg"


@pytest.fixture
def two_images(examples_coco, tmp_path):
    """A COCO folder of two small photographs in sub-folders, called alike."""
    document = read_json(examples_coco / "annotations" / "instances_samples.json")
    document["images"] = [each for each in document["images"] if each["id"] in (900001, 900002)]
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] in (900001, 900002)]
    for image in document["images"]:
        name = f"{image['id']}/photo.jpg"
        (tmp_path / "coco" / "all" / name).parent.mkdir(parents=True)
        shutil.copy(examples_coco / "samples" / image["file_name"], tmp_path / "coco" / "all" / name)
        image["file_name"] = name
    (tmp_path / "coco" / "annotations").mkdir()
    (tmp_path / "coco" / "annotations" / "instances_all.json").write_text(json.dumps(document))
    return tmp_path / "coco"
