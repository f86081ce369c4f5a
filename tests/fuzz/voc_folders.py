"""Targets that read folders in PASCAL VOC's layout: the lists of names, and the label maps."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from segcore.categories import VOC, Categories
from segcore.classes import IGNORE_INDEX
from segcore.evaluation import protocols
from segcore.evaluation.objects import judge_objects
from segcore.inference.task import Task
from segcore.models.transforms import Preprocess
from segcore.truth.dataset import Dataset
from segcore.truth.layouts import open_dataset, own_categories
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.oracle import Target, attempted, no_warnings, refusal
from tests.fuzz.pictures import HEIGHT, IDS, WIDTH, example_photographs, mask_pictures
from tests.helpers.voc_folder import label_file, write_list, write_voc

NAMES = ("2007_000042", "a b", "ü")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield write_voc(Path(folder), dict.fromkeys(NAMES, IDS))


@cache
def lists() -> list[bytes]:
    """Lists of names that are right, and of other kinds that VOC has."""
    names = "\n".join(NAMES)
    return [
        names.encode(),
        f"\ufeff{names}\r\n".replace("\n", "\r\n").encode(),
        names.encode("utf-16"),
        b"2007_000042  1\na b -1\n",
        b"/JPEGImages/2007_000042.jpg /SegmentationClass/2007_000042.png\n",
        b"../../2007_000042\n..\nC:\\x\n\0\n",
        b"2007_000042\n" * 40,
        b"x" * 300,
    ]


def check_list(data: bytes) -> None:
    """Any bytes are a split's list: they name images inside the folder, or are refused."""
    with _folder() as folder:
        write_list(folder, []).write_bytes(data)
        attempted(open_dataset, folder, "val", VOC, [])
        attempted(open_dataset, folder, categories=Categories.of("giraffe", "Dog"))
        dataset, error = attempted(open_dataset, folder)
        assert refusal(own_categories, folder) is None
        if error is None:
            for each in dataset.images[:3]:
                assert dataset.path(each.id).parent == folder / "JPEGImages"
                assert label_file(folder, each.id).resolve().parent == (folder / "SegmentationClass").resolve()
                _check_image(dataset, each.id)


def check_labels(data: bytes) -> None:
    """Any bytes are a label map: their values are Pillow's, of the photograph's size, or they are refused."""
    with _folder() as folder, no_warnings():
        label_file(folder, NAMES[0]).write_bytes(data)
        dataset = open_dataset(folder)
        if truth := _check_image(dataset, NAMES[0]):
            with Image.open(io.BytesIO(data)) as picture:
                stored = np.asarray(picture)
            assert np.array_equal(truth[0], stored * np.uint8(IGNORE_INDEX) if stored.dtype == bool else stored)
        assert (dataset.problems() == []) is bool(truth)
        assert len(dataset.ids_with_class(None)) >= 2


def _check_image(dataset: Dataset, name: str) -> list[np.ndarray]:
    """The label map, checked, in a list; none where the photograph or the label map was refused."""
    part = dataset.part([dataset.image(name)])
    fingerprint = dataset.fingerprint(name)
    assert fingerprint == dataset.fingerprint(name) == part.fingerprint(name)
    photograph, no_photograph = attempted(dataset.read_image, name)
    labels, no_labels = attempted(dataset.truth, name)
    assert str(refusal(part.truth, name)) == str(no_labels)
    if no_labels:
        assert dataset.ids_with_class(None).count(name) == 0
        return []
    assert labels.dtype == np.uint8 and set(np.unique(labels)) <= {*range(len(VOC)), IGNORE_INDEX}
    assert dataset.classes_in(name) == tuple(sorted(set(np.unique(labels)) - {0, IGNORE_INDEX}))
    assert dataset.size_hw(name) == labels.shape
    for protocol in ("original", "report"):
        scored, _ = attempted(protocols.protocol(protocol).truth_at_scored_size, dataset, name, Preprocess(size=8))
        assert judge_objects(dataset, name, scored, Task()) is None
    if no_photograph:
        return []
    assert photograph.shape == (*labels.shape, 3) == (HEIGHT, WIDTH, 3)
    return [labels]


def _label_files() -> list[bytes]:
    return mask_pictures() + example_photographs()[:8]


TARGETS = (
    Target("voc_list", mutated_bytes(lists), check_list, lists),
    Target("voc_labels", mutated_bytes(_label_files), check_labels, _label_files),
)
