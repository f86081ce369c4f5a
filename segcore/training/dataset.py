"""Training data: checks the photographs and labels, and draws random but reproducible batches."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ..categories import Categories
from ..classes import BACKGROUND, IGNORE_INDEX
from ..errors import AnnotationError, ImageError, UsageError, told
from ..imaging.reading import read
from ..truth.dataset import Dataset, ImageId
from ..truth.layouts import open_dataset
from . import soft_labels
from .augment import Augmentation, Cutting
from .example import Example
from .soft_labels import Box, SoftLabels
from .store import DecodedStore

_LABEL_SUFFIXES = ("_labels.png", ".png")  # `predict` writes the first
_COUNTED_IMAGES = 1000
_LEAST_PASTED = 1000  # pixels: minimum size of an object to paste


def checked_dataset(folder: Path, split: str | None, categories: Categories) -> Dataset:
    """Open a split and check all of it before training.

    Raises AnnotationError with all problems at once: annotations that are broken, empty, of an unknown image or
    category or outside their image, and photographs that are missing or of a wrong size. Raises UsageError for an
    unknown split.
    """
    problems: list[str] = []
    dataset = open_dataset(folder, split, categories, problems)
    problems += dataset.problems()
    if not dataset.ids_with_class(None):
        problems.append(f"{dataset.split} has no object of the categories {', '.join(categories.names[1:])}")
    if problems:
        raise AnnotationError(f"this dataset cannot be trained on; mend or leave out:\n{told(problems)}")
    return dataset


def check_apart(learned: Sequence[Path], validated: Sequence[Path]) -> None:
    """Raise AnnotationError if photographs are in both lists, also under different names.

    Scores on photographs from the training data prove nothing.
    """
    sizes = {path.stat().st_size for path in validated}
    known = {_digest(path): path for path in learned if path.stat().st_size in sizes}
    shared = [f"{path} is also {known[digest]}" for path in validated if (digest := _digest(path)) in known]
    if shared:
        raise AnnotationError(
            "the network would be validated on photographs that it learns from; leave them out of one:\n"
            + "\n".join(shared)
        )


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def annotated(dataset: Dataset, image_ids: Iterable[ImageId], *, incomplete: bool = False) -> list[Example]:
    """Make examples of some images of a dataset, with its ground truth (overlaps and crowds are 255)."""

    def example(image_id: ImageId) -> Example:
        return Example(
            dataset.path(image_id),
            dataset.size_hw(image_id),
            dataset.classes_in(image_id),
            lambda: (dataset.read_image(image_id), dataset.truth(image_id)),
            lambda: ((each.class_id, mask) for each, mask in dataset.masks(image_id)),
            incomplete=incomplete,
        )

    return [example(image_id) for image_id in image_ids]


def paired(images: Path, labels: Path, categories: Categories, *, incomplete: bool = False) -> list[Example]:
    """Make examples of the photographs in a folder, with label maps `<stem>_labels.png` or `<stem>.png` in another.

    A label map is an 8-bit grey or palette PNG of class numbers, 255 for unknown, of the photograph's size. If there is
    also a `<stem>.npz`, as `predict --probabilities` writes it, a model made the label map, and its probabilities are
    used as soft labels instead.
    Raises AnnotationError that lists all photographs without a label map, or with one that does not fit.
    """
    return _examples(images, lambda path: _paired(path, labels, categories, incomplete))


def unlabelled(images: Path) -> list[Example]:
    """Make examples without labels; a teacher will label them. Raises AnnotationError as `paired` does."""

    def example(path: Path) -> Example:
        with Image.open(path) as photograph:
            size_hw = photograph.height, photograph.width
        return Example(path, size_hw, (), lambda: (read(path, upright=False), _nothing_known(size_hw)))

    return _examples(images, example)


def _nothing_known(size_hw: tuple[int, int]) -> np.ndarray:
    return np.full(size_hw, IGNORE_INDEX, np.uint8)


def _examples(images: Path, make: Callable[[Path], Example]) -> list[Example]:
    problems: list[str] = []
    examples: list[Example] = []
    for path in sorted(each for each in images.iterdir() if each.is_file()) if images.is_dir() else ():
        try:
            examples.append(make(path))
        except (AnnotationError, ImageError, OSError) as error:
            problems.append(f"{path}: {error}")
    if not examples and not problems:
        raise UsageError(f"there are no photographs in {images}; name a folder that holds some")
    if problems:
        raise AnnotationError(f"these photographs cannot be trained on; mend or leave out:\n{told(problems)}")
    return examples


def _paired(path: Path, folder: Path, categories: Categories, incomplete: bool) -> Example:
    file = next((each for suffix in _LABEL_SUFFIXES if (each := folder / (path.stem + suffix)).is_file()), None)
    if file is None:
        raise AnnotationError(f"has no {path.stem}{_LABEL_SUFFIXES[0]} or {path.stem}{_LABEL_SUFFIXES[1]} in {folder}")
    labels = _read_labels(file)
    size_hw = labels.shape
    with Image.open(path) as photograph:
        if photograph.size != size_hw[::-1]:
            raise AnnotationError(f"is of {photograph.size} pixels, and {file.name} of {size_hw[::-1]}")
    found = np.unique(labels)
    wrong = found[(found >= len(categories)) & (found != IGNORE_INDEX)]
    if len(wrong):
        raise AnnotationError(f"{file.name} holds the value {wrong[0]}, and the classes are 0..{len(categories) - 1}")
    classes = tuple(int(each) for each in found if each not in (BACKGROUND, IGNORE_INDEX))
    archive = folder / f"{path.stem}.npz"
    if not archive.is_file():

        def load() -> tuple[np.ndarray, np.ndarray]:
            return read(path, upright=False), _read_labels(file)

        return Example(path, size_hw, classes, load, incomplete=incomplete)
    told_apart = _read_npz(archive, "classes")
    if tuple(told_apart) != categories.names:
        raise AnnotationError(f"{archive.name} is of other classes: {', '.join(map(str, told_apart))}")

    def soft() -> np.ndarray:
        probabilities = _read_npz(archive, "probabilities")
        if probabilities.shape != (len(categories), *size_hw):
            raise AnnotationError(f"{archive} must hold {(len(categories), *size_hw)}, got {probabilities.shape}")
        return np.rint(probabilities.astype(np.float32) * soft_labels.CERTAIN).astype(np.uint8)

    def photograph_alone() -> tuple[np.ndarray, np.ndarray]:
        return read(path, upright=False), _nothing_known(size_hw)

    return Example(path, size_hw, classes, photograph_alone, soft=soft)


def _read_npz(file: Path, name: str) -> np.ndarray:
    try:
        with np.load(file) as arrays:
            return arrays[name]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise AnnotationError(f"{file.name} cannot be read: {error}") from error


def _read_labels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        if image.mode not in ("L", "P"):
            raise AnnotationError(f"{file.name} must be an 8-bit label map, not of mode {image.mode}")
        return np.array(image)


@dataclass(frozen=True, eq=False)
class Pool:
    """A group of examples. share: the pool's weight when the pool of a crop is drawn."""

    examples: Sequence[Example]
    share: float

    @cached_property
    def by_class(self) -> dict[int, list[Example]]:
        """The examples that hold each object class."""
        result: dict[int, list[Example]] = {}
        for example in self.examples:
            for number in example.classes:
                result.setdefault(number, []).append(example)
        return result


class TrainingSet:
    """Draws batches. A batch depends only on the seed and the step, so training can be resumed.

    pools: the first is the dataset. folder: where decoded photographs are kept in a temporary file.
    balanced: the share of crops for which a class is drawn first, with equal chances, and then a photograph with it;
    `centred` is the share of these that are centred on the class. For other crops, any photograph is drawn.
    paste: the share of crops that get an object of a random class, cut out of another photograph of the dataset.
    teacher: soft labels for the examples. teacher_share: their weight at pixels that have a truth, 0..1.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        augmentation: Augmentation,
        num_classes: int,
        folder: Path,
        *,
        balanced: float = 0.75,
        centred: float = 1.0,
        paste: float = 0.0,
        teacher: SoftLabels | None = None,
        teacher_share: float = 0.3,
        seed: int = 0,
    ) -> None:
        if not pools or not pools[0].examples:
            raise UsageError("there is no photograph to train on; hold fewer back for validation")
        shares = {"balanced": balanced, "centred": centred, "pasted-on": paste, "the teacher's": teacher_share}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise UsageError(f"the share of {name} crops must be from 0 to 1, got {share}")
        self.augmentation = augmentation
        self._pools = pools
        self._chances = np.cumsum([pool.share for pool in pools]) / sum(pool.share for pool in pools)
        self._num_classes = num_classes
        self._balanced, self._centred, self._paste = balanced, centred, paste
        self._teacher, self._teacher_share = teacher, teacher_share
        self._seed = seed
        examples = [example for pool in pools for example in pool.examples]
        self._index = {example: number for number, example in enumerate(examples)}
        self._store = DecodedStore([example.size_hw for example in examples], folder)

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return crops, uint8 (size, crop, crop, 3), and soft labels, uint8 (size, classes, crop / 2, crop / 2).

        Raises ImageError or AnnotationError for a photograph that was deleted or changed since it was checked.
        """
        rng = np.random.default_rng((self._seed, step))
        crops, truth = zip(*(self._crop(rng) for _ in range(size)), strict=True)
        return np.stack(crops), np.stack(truth)

    def pixels(self) -> np.ndarray:
        """Count the pixels of each class in the dataset's first thousand photographs: int64 (n,)."""
        counted = np.zeros(IGNORE_INDEX + 1, np.int64)
        for example in self._pools[0].examples[:_COUNTED_IMAGES]:
            counted += np.bincount(self._load(example)[1].ravel(), minlength=IGNORE_INDEX + 1)
        return counted[: self._num_classes]

    def _crop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pool = self._pools[int(np.searchsorted(self._chances, rng.random(), side="right"))]
        candidates, focus = pool.examples, None
        if pool.by_class and rng.random() < self._balanced:
            number = int(rng.choice(list(pool.by_class)))
            candidates = pool.by_class[number]
            focus = number if rng.random() < self._centred else None
        example = candidates[int(rng.integers(len(candidates)))]
        image, labels = self._load(example)
        cutting = self._cutting(rng) if rng.random() < self._paste else None
        return self.augmentation(image, labels, self._shares_of(example), rng, focus, cutting)

    def _shares_of(self, example: Example) -> Callable[[np.ndarray, Box], np.ndarray]:
        """Return the function `shares` of `Augmentation.__call__` for an example."""
        if example.soft:
            grid = example.soft()
        elif self._teacher:
            grid = self._teacher[example]
        else:
            return lambda labels, box: soft_labels.of_labels(labels, self._num_classes)

        def shares(labels: np.ndarray, box: Box) -> np.ndarray:
            soft = soft_labels.window(grid, box, labels.shape)
            return soft_labels.mixed(labels, soft, teacher_share=self._teacher_share, incomplete=example.incomplete)

        return shares

    def _cutting(self, rng: np.random.Generator) -> Cutting | None:
        """Cut out an object of a random class; None if the drawn photograph has none that is large enough."""
        by_class = self._pools[0].by_class
        if not by_class:
            return None
        number = int(rng.choice(list(by_class)))
        example = by_class[number][rng.integers(len(by_class[number]))]
        masks = [mask for each, mask in example.masks() if each == number and mask.sum() >= _LEAST_PASTED]
        if not masks:
            return None
        mask = masks[rng.integers(len(masks))]
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return Cutting(self._load(example)[0][box], mask[box], number)

    def _load(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        return self._store.get(self._index[example], example.load)
