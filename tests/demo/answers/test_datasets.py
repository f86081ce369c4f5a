"""The sets of images that the page offers."""

import json
import shutil
import threading
import time

import numpy as np
import pytest

from demo.answers.datasets import FETCHED, SAMPLES, Datasets
from segcore.errors import AnnotationError, Cancelled, UsageError
from segcore.truth import fetch_coco
from tests.helpers.voc_folder import boxes, write_list, write_voc


@pytest.fixture
def own(examples_coco, tmp_path):
    """An operator's folder of two splits with three of the samples."""
    folder = tmp_path / "own"
    document = json.loads((examples_coco / "annotations" / "instances_samples.json").read_text())
    document["images"] = document["images"][:3]
    kept = {image["id"] for image in document["images"]}
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] in kept]
    (folder / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return folder


def test_the_samples_are_always_there(examples_coco, tmp_path):
    datasets = Datasets(examples_coco, examples_coco, tmp_path / "none")
    assert datasets.choices == [("The samples", SAMPLES)]
    assert datasets.default == SAMPLES
    assert len(datasets.get(SAMPLES).images) == 18


def test_the_operators_folder_comes_first_with_all_its_splits(own, examples_coco, tmp_path):
    datasets = Datasets(own, examples_coco, tmp_path / "none")
    assert [key for _, key in datasets.choices] == ["own:train2017", "own:val2017", SAMPLES]
    assert datasets.default == "own:val2017"
    assert len(datasets.get("own:train2017").images) == 3
    (own / "annotations" / "instances_val2017.json").unlink()
    assert Datasets(own, examples_coco, tmp_path / "none").default == "own:train2017"


def test_a_sample_is_there_once_and_has_the_same_truth_beside_the_real_coco(shared_coco, examples_coco, tmp_path):
    datasets = Datasets(shared_coco, examples_coco, tmp_path / "none")
    samples = datasets.get(SAMPLES)
    ids = {image.id for image in samples.images}
    assert len(ids) == len(samples.images)
    for split, shared in (("val2017", 11), ("train2017", 2)):
        theirs = datasets.get(f"own:{split}")
        both = ids & {image.id for image in theirs.images}
        assert len(both) == shared
        for image_id in both:
            assert np.array_equal(samples.truth(image_id), theirs.truth(image_id))


def test_a_dataset_is_read_once_and_again_when_it_has_changed(own, examples_coco, tmp_path):
    datasets = Datasets(examples_coco, examples_coco, own)
    first = datasets.get(FETCHED)
    assert datasets.get(FETCHED) is first
    file = own / "annotations" / "instances_val2017.json"
    document = json.loads(file.read_text())
    document["images"].append(document["images"][0] | {"id": 5, "file_name": "five.jpg"})
    time.sleep(0.01)
    file.write_text(json.dumps(document))
    assert len(datasets.get(FETCHED).images) == 4


def test_what_was_fetched_appears_and_goes(own, examples_coco, tmp_path):
    fetched = tmp_path / "fetched"
    datasets = Datasets(examples_coco, examples_coco, fetched)
    with pytest.raises(UsageError, match="no longer here"):
        datasets.get(FETCHED)
    shutil.copytree(own, fetched)
    assert datasets.choices[-1][1] == FETCHED and len(datasets.get(FETCHED).images) == 3
    shutil.rmtree(fetched)
    assert FETCHED not in [key for _, key in datasets.choices]


def test_a_folder_in_vocs_layout_is_offered_with_its_splits(examples_coco, tmp_path):
    own = write_voc(tmp_path / "voc", {"a": boxes((6, 9)), "b": boxes((6, 9))})
    write_list(own, ["a"], "train")
    datasets = Datasets(own, examples_coco, tmp_path / "none")
    assert [key for _, key in datasets.choices] == ["own:train", "own:val", SAMPLES]
    assert (datasets.layout, datasets.default) == ("PASCAL VOC", "own:val")
    assert [image.id for image in datasets.get("own:train").images] == ["a"]
    time.sleep(0.01)
    write_list(own, ["b", "a"], "train")
    assert [image.id for image in datasets.get("own:train").images] == ["a", "b"]


@pytest.mark.parametrize("gone", ["annotations/instances_val2017.json", "annotations", ""])
def test_a_set_that_vanishes_is_said_to_be_gone_without_naming_the_servers_folder(own, examples_coco, tmp_path, gone):
    datasets = Datasets(own, examples_coco, tmp_path / "none")
    assert len(datasets.get("own:val2017").images) == 3
    (own / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"^These images are no longer here; choose others\.$"):
        datasets.get("own:val2017")


def test_a_fetch_is_of_who_asked_for_it(examples_coco, tmp_path, monkeypatch):
    over = threading.Event()

    def fetch(*_, cancel, progress, **options):
        progress("photographs", 1, 10)
        assert cancel.wait(60)
        over.set()
        raise Cancelled("stopped")

    monkeypatch.setattr(fetch_coco, "fetch_coco", fetch)
    datasets = Datasets(examples_coco, examples_coco, tmp_path / "none")
    datasets.stop_collecting("one")
    datasets.collect(10, "dog", "one")
    with pytest.raises(UsageError, match="being fetched already. Please ask again once they are here"):
        datasets.collect(10, "cat", "two")
    datasets.stop_collecting("two")
    assert not over.wait(0.2)
    assert not datasets.collecting.finished and datasets.collecting.owner == "one"
    datasets.stop_collecting("one")
    assert over.wait(60)
    while not datasets.collecting.finished:
        time.sleep(0.01)
    datasets.collect(10, "cat", "two")
    assert datasets.collecting.owner == "two"
    datasets.stop_collecting("two")


def test_errors(examples_coco, tmp_path):
    with pytest.raises(AnnotationError, match="holds neither annotations/instances_<split>.json"):
        Datasets(tmp_path, examples_coco, tmp_path / "none")
    datasets = Datasets(examples_coco, examples_coco, tmp_path / "none", offline=True)
    for key in ("own:val2017", "../secret", ""):
        with pytest.raises(UsageError, match="no longer here"):
            datasets.get(key)
    with pytest.raises(UsageError, match="stay offline"):
        datasets.collect(10, None)
    assert datasets.collecting is None
