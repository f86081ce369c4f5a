"""Opens a data set in the layout that its folder has: COCO's or PASCAL VOC's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..categories import VOC, Categories
from ..errors import AnnotationError
from . import coco, voc
from .coco import CocoDataset
from .dataset import Dataset
from .voc import VocDataset


class _Layout(NamedTuple):
    name: str
    open: Callable[[str | Path, str | None, Categories, list[str] | None], Any]  # a `Dataset`
    splits: Callable[[Path], tuple[str, ...]]
    split_file: Callable[[Path, str], Path]
    own_categories: Callable[[Path, str | None], Categories]


_COCO = _Layout("COCO", CocoDataset.open, coco.splits, coco.annotation_file, coco.own_categories)
_VOC = _Layout("PASCAL VOC", VocDataset.open, voc.splits, voc.split_file, voc.own_categories)


def open_dataset(
    folder: str | Path, split: str | None = None, categories: Categories = VOC, problems: list[str] | None = None
) -> Dataset:
    """Open one split of a folder in COCO's layout or VOC's. Without `split`, the folder must have exactly one.

    categories: the classes of the truth; the folder's categories are matched by name. problems: if given, problems of
    single records are appended to it and the records are left out; without it they raise. Problems of one image are
    in the data set's `broken`.
    Raises UsageError for an unknown split, or for None if there are several, and AnnotationError for a folder in
    neither layout and for broken ground truth.
    """
    return _layout(Path(folder)).open(Path(folder), split, categories, problems)


def name(folder: str | Path) -> str:
    """Return the name of a folder's layout. Raises AnnotationError for a folder in neither layout."""
    return _layout(Path(folder)).name


def splits(folder: str | Path) -> tuple[str, ...]:
    """Return the sorted names of a folder's splits. Raises AnnotationError if there is none, or no known layout."""
    return _layout(Path(folder)).splits(Path(folder))


def split_file(folder: str | Path, split: str) -> Path:
    """Return the file that describes a split. Raises AnnotationError for a folder in neither layout."""
    return _layout(Path(folder)).split_file(Path(folder), split)


def own_categories(folder: str | Path, split: str | None = None) -> Categories:
    """Return the categories of a split's ground truth. Raises UsageError and AnnotationError as `open_dataset` does."""
    return _layout(Path(folder)).own_categories(Path(folder), split)


def _layout(folder: Path) -> _Layout:
    """Find the layout. A folder with both layouts counts as COCO: somebody has converted VOC's annotations."""
    if coco.splits(folder):
        return _COCO
    if any(os.path.isdir(folder / part) for part in (voc.LABELS, voc.SPLITS)):
        return _VOC
    if not os.path.isdir(folder):
        raise AnnotationError(f"there is no folder {folder}; name one with photographs and their ground truth")
    raise AnnotationError(
        f"{folder} holds neither annotations/instances_<split>.json (COCO's layout, with the photographs in <split>/) "
        f"nor {voc.LAYOUT} (VOC's); give a folder in one of the two"
    )
