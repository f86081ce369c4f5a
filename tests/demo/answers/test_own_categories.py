"""A model of one's own on the page: its categories by their names, and nothing of where its file lies."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from demo.answers import ground_truth, photographs, whole_set
from demo.answers.datasets import Datasets
from demo.answers.model_pool import ModelPool
from demo.markup import tables
from segcore.categories import Categories
from segcore.errors import SegcoreError
from segcore.inference.task import Task
from segcore.models import checkpoint, loading

NETWORK = "deeplabv3_mobilenet_v2"
NAMES = tuple(f"tool {number}" for number in range(1, 26))  # more than VOC has
LAST = NAMES[-1]


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """The folder whose name nobody may learn."""
    return tmp_path_factory.mktemp("secret-place")


@pytest.fixture(scope="module")
def pool(secret, no_downloads):
    """Of a model that calls everything the last of its categories."""
    network = loading.build_network(NETWORK, len(NAMES) + 1)
    state = {name: values for name, values in network.state_dict().items() if values.is_floating_point()}
    last_layer = max(name for name in state if name.startswith("classifier") and state[name].shape == (len(NAMES) + 1,))
    state[last_layer] = torch.zeros(len(NAMES) + 1).index_fill_(0, torch.tensor([len(NAMES)]), 1000.0)
    half = (0.5, 0.5, 0.5)
    header = checkpoint.Header(NETWORK, Categories.of(*NAMES), 64, half, half, {})
    checkpoint.write(secret / "tools.safetensors", header, state)
    return ModelPool(str(secret / "tools.safetensors"), offline=True)


@pytest.fixture(scope="module")
def datasets(pool, secret, examples_coco):
    """One photograph of 40 x 30 pixels, with the last category on its left half."""
    folder = secret / "data"
    (folder / "bench").mkdir(parents=True)
    (folder / "annotations").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).save(folder / "bench" / "1.png")
    outline = [0, 0, 20, 0, 20, 30, 0, 30]
    document = {
        "images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 30}],
        "categories": [{"id": 7, "name": LAST}, {"id": 8, "name": "vice"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "segmentation": [outline]},
            {"id": 2, "image_id": 1, "category_id": 8, "segmentation": [outline]},
        ],
    }
    (folder / "annotations" / "instances_bench.json").write_text(json.dumps(document))
    return Datasets(folder, examples_coco, secret / "none", categories=pool.categories)


@pytest.fixture
def dataset(datasets):
    return datasets.get("own:bench")


@pytest.mark.parametrize(("mode", "chosen"), [("multiclass", "any"), ("binary", "any"), ("binary", LAST)])
def test_scores_are_by_the_models_own_names(pool, dataset, mode, chosen):
    *pictures, record = ground_truth.evaluate_for_program(pool, dataset, "1", mode, chosen, "original", "auto")
    assert [picture.shape for picture in pictures] == [(30, 40, 3)] * 3
    expected = ["background", *NAMES] if mode == "multiclass" else ["background", chosen]
    assert list(record["per_class"]) == list(record["intervals"]["per_class"]) == expected
    assert list(record["objects"]["per_class"]) == [LAST]
    scores = record["per_class"][expected[-1]]
    assert scores["iou"] == 0.5 and scores["recall"] == 1


def test_objects_beside_the_models_own_are_told(pool, dataset):
    compared = ground_truth.compare(pool, None, dataset, 1, "auto", "original", "squeeze")
    view = ground_truth.view_compared(compared, Task(categories=pool.categories), "original")
    assert "objects that the model does not know (vice)" in view.warning and "20" not in view.warning
    assert LAST in tables.per_class(view) and LAST in view.verdict


@pytest.mark.slow
def test_nobody_learns_where_the_model_lies(pool, datasets, dataset, secret, tmp_path):
    told = [ground_truth.evaluate_for_program(pool, dataset, "1", "multiclass", "any", "original", "auto")[-1]]
    told += [photographs.segment_for_program(pool, dataset.path(1), "multiclass", "any", -1, "auto")[-1]]
    assert all(record["model"] == "tools.safetensors" for record in told)
    texts = list(map(json.dumps, told))

    wanted = whole_set.Wanted("own:bench", 1, Task(categories=pool.categories), "original", "squeeze", "auto")
    *_, outcome = whole_set.evaluate_set(pool, datasets, wanted, tmp_path / "kept", threading.Event())
    for suffix in whole_set.DOWNLOADS:
        file = whole_set.write_download(pool, datasets, outcome, suffix, tmp_path / "files")
        assert file.name == f"bench_tools.safetensors{suffix}"
        texts.append(file.read_text(encoding="utf-8"))

    compared = ground_truth.compare(pool, None, dataset, 1, "auto", "original", "squeeze")
    task = Task(categories=pool.categories)
    view = ground_truth.view_compared(compared, task, "original")
    for suffix in (".json", ".csv"):
        texts.append(ground_truth.scores_file(view, tmp_path / "files", suffix).read_text(encoding="utf-8"))
    shown = photographs.open_photograph(pool, None, dataset.path(1), "auto", "squeeze")
    texts += [tables.provenance(each) for each in (view, photographs.view_photograph(shown, task))]
    for text in texts:
        assert "secret-place" not in text


def test_a_photograph_of_another_size_than_its_record_tells_no_folder(pool, datasets, dataset, secret):
    path = dataset.path(1)
    before = path.read_bytes()
    try:
        Image.new("RGB", (7, 5)).save(path)
        with pytest.raises(SegcoreError, match="1.png is 7 x 5 pixels, but 40 x 30 in instances_bench.json") as caught:
            ground_truth.evaluate_for_program(pool, dataset, "1", "multiclass", "any", "original", "auto")
        assert "secret-place" not in str(caught.value)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"no weights")])
def test_a_model_that_has_gone_tells_no_folder(pool, dataset, secret, tmp_path, monkeypatch, damage):
    path = tmp_path / "secret-place.safetensors"
    path.write_bytes((secret / "tools.safetensors").read_bytes())
    other = ModelPool(str(path), offline=True)
    damage(path)
    with pytest.raises(SegcoreError, match="secret-place") as caught:  # the title, which everybody sees
        ground_truth.evaluate_for_program(other, dataset, "1", "multiclass", "any", "original", "auto")
    assert str(tmp_path) not in str(caught.value) and "choose another model" in str(caught.value)
