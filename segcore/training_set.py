"""The photographs that a network learns from: checked before, drawn at random and yet repeatably, batch by batch."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from . import votes
from .augment import Augmentation, Cutting
from .categories import Categories
from .classes import BACKGROUND, IGNORE_INDEX
from .coco import CocoDataset
from .coco_file import CocoImage, CocoObject, told
from .errors import AnnotationError, ImageError, UsageError
from .image import read

_CACHE_BYTES = 2_000_000_000
_LABEL_SUFFIXES = ("_labels.png", ".png")  # the first is what `predict` writes
_COUNTED_IMAGES = 1000
_LEAST_PASTED = 1000  # pixels: of smaller objects little is to be seen


@dataclass(frozen=True, eq=False)
class Example:
    """One photograph to learn from: the object classes it holds; `load` gives uint8 (H, W, 3) and votes (H, W, 4).

    `masks` gives the class and the mask, bool (H, W), of each of its objects, where these are known one by one.
    """

    name: str
    classes: tuple[int, ...]
    load: Callable[[], tuple[np.ndarray, np.ndarray]]
    masks: Callable[[], Iterable[tuple[int, np.ndarray]]] = tuple


def checked_dataset(folder: Path, split: str | None, categories: Categories) -> CocoDataset:
    """One split, all of it fit to be learned from.

    Raises AnnotationError that tells everything that is wrong at once: annotations that are broken, empty, of an
    unknown image or category or outside their picture, and photographs that are missing or of another size. Raises
    UsageError for a split that is not there.
    """
    problems: list[str] = []
    dataset = CocoDataset.open(folder, split, categories, problems)
    for image in dataset.images:
        problems += _image_problems(dataset, image)
        problems += [
            f"annotations (id {each.id}): 'segmentation' lies outside the picture of image {image.id}"
            for each in dataset.objects.get(image.id, ())
            if _is_outside(each, image)
        ]
    if not any(dataset.objects.values()):
        problems.append(f"{dataset.split} has no object of the categories {', '.join(categories.names[1:])}")
    if problems:
        raise AnnotationError(f"this dataset cannot be trained on; mend or leave out:\n{told(problems)}")
    return dataset


def check_apart(training: CocoDataset, validation: CocoDataset) -> None:
    """Raises AnnotationError for photographs that are in both, by name and content: scores on them prove nothing."""
    paths = {image.file_name: training.path(image.id) for image in training.images}
    shared = [
        image
        for image in validation.images
        if image.file_name in paths and _same_content(paths[image.file_name], validation.path(image.id))
    ]
    if shared:
        problems = [f"{image.file_name} is in {training.split} as well as in {validation.split}" for image in shared]
        raise AnnotationError(
            f"the network would be validated on photographs that it learns from; leave out of one:\n{told(problems)}"
        )


def _same_content(first: Path, second: Path) -> bool:
    return first.stat().st_size == second.stat().st_size and first.read_bytes() == second.read_bytes()


def _image_problems(dataset: CocoDataset, image: CocoImage) -> list[str]:
    path = dataset.path(image.id)
    try:
        with Image.open(path) as file:  # reads the header alone
            size = file.size
    except FileNotFoundError:
        return [f"image {image.id}: {path} is missing"]
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        return [f"image {image.id}: {path} cannot be read: {error}"]
    if size != (image.width, image.height):
        return [f"image {image.id}: {path} is {size[0]} x {size[1]} pixels, not {image.width} x {image.height}"]
    return []


def _is_outside(each: CocoObject, image: CocoImage) -> bool:
    if not isinstance(each.segmentation, tuple):
        return False  # run lengths cannot leave the picture
    x = [value for polygon in each.segmentation for value in polygon[0::2]]
    y = [value for polygon in each.segmentation for value in polygon[1::2]]
    return max(x) <= 0 or max(y) <= 0 or min(x) >= image.width or min(y) >= image.height


def annotated(dataset: CocoDataset, image_ids: Iterable[int]) -> list[Example]:
    """The examples of some images of a dataset, with its ground truth (overlaps and crowds are 255)."""

    def example(image_id: int) -> Example:
        return Example(
            dataset.image(image_id).file_name,
            dataset.classes_in(image_id),
            lambda: (dataset.read_image(image_id), votes.of_labels(dataset.truth(image_id))),
            lambda: ((each.class_id, mask) for each, mask in dataset.masks(image_id) if not each.crowd),
        )

    return [example(image_id) for image_id in image_ids]


def pseudo_labelled(images: Path, labels: Path, categories: Categories) -> list[Example]:
    """Photographs of one folder, and label maps of another that a model made: `<stem>_labels.png` or `<stem>.png`.

    Where there is also a `<stem>.npz`, as `predict --probabilities` writes it, the two likeliest classes of each pixel
    are learned from, each as far as the model believed in it.
    Raises AnnotationError that tells of every photograph without a label map, or with one that does not fit.
    """
    problems: list[str] = []
    examples: list[Example] = []
    for path in sorted(each for each in images.iterdir() if each.is_file()) if images.is_dir() else ():
        try:
            examples.append(_pseudo_labelled(path, labels, categories))
        except (AnnotationError, ImageError, OSError) as error:
            problems.append(f"{path}: {error}")
    if not examples and not problems:
        raise UsageError(f"there are no photographs in {images}; name the folders of the photographs and of the labels")
    if problems:
        raise AnnotationError(f"these photographs cannot be trained on; mend or leave out:\n{told(problems)}")
    return examples


def _pseudo_labelled(path: Path, folder: Path, categories: Categories) -> Example:
    file = next((each for suffix in _LABEL_SUFFIXES if (each := folder / (path.stem + suffix)).is_file()), None)
    if file is None:
        raise AnnotationError(f"has no {path.stem}{_LABEL_SUFFIXES[0]} or {path.stem}{_LABEL_SUFFIXES[1]} in {folder}")
    labels = _read_labels(file)
    with Image.open(path) as photograph:
        if photograph.size != labels.shape[::-1]:
            raise AnnotationError(f"is of {photograph.size} pixels, and {file.name} of {labels.shape[::-1]}")
    found = np.unique(labels)
    wrong = found[(found >= len(categories)) & (found != IGNORE_INDEX)]
    if len(wrong):
        raise AnnotationError(f"{file.name} holds the value {wrong[0]}, and the classes are 0..{len(categories) - 1}")
    classes = tuple(int(each) for each in found if each not in (BACKGROUND, IGNORE_INDEX))
    shares = folder / f"{path.stem}.npz"
    if not shares.is_file():
        return Example(path.name, classes, lambda: (read(path, upright=False), votes.of_labels(_read_labels(file))))
    told_apart = _read_npz(shares, "classes")
    if tuple(told_apart) != categories.names:
        raise AnnotationError(f"{shares.name} is of other classes: {', '.join(map(str, told_apart))}")
    size_hw = labels.shape

    def load() -> tuple[np.ndarray, np.ndarray]:
        probabilities = _read_npz(shares, "probabilities")
        if probabilities.shape != (len(categories), *size_hw):
            raise AnnotationError(f"{shares} must hold {(len(categories), *size_hw)}, got {probabilities.shape}")
        return read(path, upright=False), votes.of_probabilities(probabilities)

    return Example(path.name, classes, load)


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


class TrainingSet:
    """Draws batches: the one of a step depends on the seed and the step alone, so that training can be resumed.

    pseudo_share: how many of the crops come from the pseudo-labelled photographs, 0..1. balanced: how many are
    centred on a class drawn evenly from those there are, whatever their number of photographs; the rest are drawn
    evenly from the photographs. paste: how many get an object of an evenly drawn class pasted on, cut out of another
    annotated photograph.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        augmentation: Augmentation,
        *,
        pseudo: Sequence[Example] = (),
        pseudo_share: float = 0.5,
        balanced: float = 0.75,
        paste: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not examples:
            raise UsageError("there is no photograph to train on; hold fewer back for validation")
        for name, share in (("pseudo-labelled", pseudo_share), ("balanced", balanced), ("pasted-on", paste)):
            if not 0 <= share <= 1:
                raise UsageError(f"the share of {name} crops must be from 0 to 1, got {share}")
        self.augmentation = augmentation
        self._pools = [_Pool(examples), _Pool(pseudo)]
        self._pseudo_share = pseudo_share if pseudo else 0.0
        self._balanced = balanced
        self._paste = paste
        self._seed = seed
        self._cache: dict[Example, tuple[np.ndarray, np.ndarray]] = {}
        self._cached_bytes = 0

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Crops, uint8 (size, crop, crop, 3), and their votes, uint8 (size, crop, crop, 4).

        Raises ImageError or AnnotationError for a photograph that has gone or changed since it was checked.
        """
        rng = np.random.default_rng((self._seed, step))
        crops, truth = zip(*(self._crop(rng) for _ in range(size)), strict=True)
        return np.stack(crops), np.stack(truth)

    def pixels(self, num_classes: int) -> np.ndarray:
        """How many pixels each class has in the annotated photographs (at most a thousand of them): int64 (n,)."""
        counted = np.zeros(IGNORE_INDEX + 1, np.int64)
        for example in self._pools[0].examples[:_COUNTED_IMAGES]:
            counted += np.bincount(self._load(example)[1][..., 0].ravel(), minlength=IGNORE_INDEX + 1)
        return counted[:num_classes]

    def _crop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pool = self._pools[rng.random() < self._pseudo_share]
        focus = None
        if pool.by_class and rng.random() < self._balanced:
            focus = int(rng.choice(list(pool.by_class)))
        candidates = pool.examples if focus is None else pool.by_class[focus]
        image, truth = self._load(candidates[rng.integers(len(candidates))])
        cutting = self._cutting(rng) if rng.random() < self._paste else None
        return self.augmentation(image, truth, rng, focus, cutting)

    def _cutting(self, rng: np.random.Generator) -> Cutting | None:
        """An object of an evenly drawn class; None if that photograph has none that is large enough."""
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
        if example in self._cache:
            return self._cache[example]
        loaded = example.load()
        self._cached_bytes += sum(each.nbytes for each in loaded)
        if self._cached_bytes <= _CACHE_BYTES:
            self._cache[example] = loaded
        return loaded


class _Pool:
    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        self.by_class: dict[int, list[Example]] = {}
        for example in examples:
            for number in example.classes:
                self.by_class.setdefault(number, []).append(example)
