"""A result taken away from Python: files, COCO annotations, outlines."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools.coco import COCO

from segcore import Segmentation
from segcore.categories import VOC, Categories
from segcore.errors import UsageError
from segcore.inference.coco_annotations import coco_document
from segcore.inference.provenance import Provenance
from segcore.truth.coco import CocoDataset

CAT, PERSON = 8, 15
PROVENANCE = Provenance("some_model", "ab" * 32, "squeeze", "cpu", "float32", 0.25)


def result_of(labels, categories=VOC, **options):
    logits = np.zeros((len(categories), *labels.shape), np.float32)
    np.put_along_axis(logits, labels[None].astype(int), 4, axis=0)
    photograph = np.full((*labels.shape, 3), 99, np.uint8)
    return Segmentation(logits, labels.shape, PROVENANCE, photograph, categories, **options)


@pytest.fixture
def labels():
    labels = np.zeros((6, 8), np.uint8)
    labels[1:5, 1:6] = CAT
    labels[2:4, 2:4] = 0
    labels[5, :3] = PERSON
    return labels


def test_save_writes_what_predict_writes(labels, tmp_path):
    path = result_of(labels, name="my cat").save(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "my cat.json"
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "my cat.json",
        "my cat_labels.png",
        "my cat_overlay.png",
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(path.parent / "my cat_labels.png")), labels)
    record = json.loads(path.read_text())
    assert [each["name"] for each in record["classes"]] == ["cat", "person"] and record["width"] == 8
    result_of(labels).save(str(path.parent), name="other", cutout=True, probabilities=True)
    ends = ("_cutout.png", ".npz", "_labels.png", "_overlay.png", ".json")
    assert all((path.parent / f"other{end}").is_file() for end in ends)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "/etc/passwd"])
def test_save_errors(labels, tmp_path, name):
    with pytest.raises(UsageError, match="name of files without folders"):
        result_of(labels).save(tmp_path / "out", name=name)
    with pytest.raises(UsageError, match="no longer holds its photograph"):
        result_of(labels).without_image().save(tmp_path / "out")
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


def loaded(document, tmp_path):
    """As pycocotools reads it."""
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(document, allow_nan=False))
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(file))


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_annotations_are_read_by_pycocotools(labels, tmp_path, polygons):
    document = result_of(labels, name="photo").to_coco(image_id=7, polygons=polygons)
    coco = loaded(document, tmp_path)
    (image,) = coco.loadImgs(7)
    assert (image["file_name"], image["width"], image["height"]) == ("photo", 8, 6)
    cat, person = coco.loadAnns(coco.getAnnIds(imgIds=7))
    assert [coco.cats[each["category_id"]]["name"] for each in (cat, person)] == ["cat", "person"]
    assert (cat["area"], cat["bbox"], cat["iscrowd"]) == (16, [1, 1, 5, 4], 0)
    assert isinstance(cat["segmentation"], list) == polygons
    for each, number in ((cat, CAT), (person, PERSON)):
        np.testing.assert_array_equal(coco.annToMask(each), labels == number)


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, (9, 7), elements=st.integers(0, 20)), st.booleans())
def test_coco_annotations_are_the_label_map(tmp_path_factory, labels, polygons):
    """Read back as ground truth."""
    document = coco_document(labels, VOC, file_name="a.jpg", image_id=1, as_polygons=polygons)
    dataset = CocoDataset.from_document(tmp_path_factory.getbasetemp(), "split", json.loads(json.dumps(document)), "a")
    np.testing.assert_array_equal(dataset.truth(1), labels)


def test_coco_annotations_of_other_categories(labels):
    labels[labels == CAT], labels[labels == PERSON] = 1, 2
    document = result_of(labels, Categories.of("leaf", "stem")).to_coco()
    assert document["categories"] == [{"id": 1, "name": "leaf"}, {"id": 2, "name": "stem"}]
    assert [each["category_id"] for each in document["annotations"]] == [1, 2]


def test_polygons_of_a_class(labels):
    result = result_of(labels)
    outer, hole = sorted(result.polygons("cat"), key=len, reverse=True)
    assert {len(outer), len(hole)} == {4}
    (person,) = result.polygons("person")
    assert sorted(map(tuple, person.tolist())) == [(0, 5), (0, 6), (3, 5), (3, 6)]
    assert len(result.polygons()) == 2 and result.polygons("dog") == []
    assert result.polygons("cat", threshold=1.0) == []
    with pytest.raises(UsageError, match="no class 'unicorn'"):
        result.polygons("unicorn")
