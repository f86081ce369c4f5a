"""Writes the files of one result: label map, overlay, cut-out, probabilities, and JSON with COCO RLE."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ..categories import Categories
from ..classes import BACKGROUND
from ..errors import UsageError
from ..files.atomic import atomic_write, described, write_json
from ..imaging import drawing, subjects
from ..models.catalogue import public_name
from .provenance import Provenance, arithmetic, arithmetic_record, mode
from .refine import Edges
from .task import Task
from .upsampling import Place, probability_stripes

SCHEMA = 1
JPEG_QUALITY = 92
OVERLAY, LABELS, CUTOUT = "_overlay.png", "_labels.png", "_cutout.png"  # ends of file names


class Result(Protocol):
    """The parts of a `Segmentation` that are written. `segmentation` imports this module, so it cannot be imported."""

    @property
    def logits(self) -> np.ndarray: ...
    @property
    def size_hw(self) -> tuple[int, int]: ...
    @property
    def provenance(self) -> Provenance: ...
    @property
    def image(self) -> np.ndarray | None: ...
    @property
    def categories(self) -> Categories: ...
    @property
    def edges(self) -> Edges | None: ...
    def probability_stripes(self) -> Iterator[tuple[Place, np.ndarray]]: ...


@dataclass(frozen=True)
class Found:
    """One class in a prediction: its pixels, their share of the image (0..1) and their mean probability.

    id: VOC's, or the number in the model's categories; None for "any".
    """

    id: int | None
    name: str
    friendly: str
    number: int  # its value in the prediction
    pixels: int
    share: float
    confidence: float


@dataclass(frozen=True, eq=False)
class Decided:
    """The prediction of a result for one task and one size."""

    result: Result
    task: Task
    prediction: np.ndarray  # uint8 (H, W): 0..20, in binary mode 0 and 1
    confidence: np.ndarray | None = None  # the result of `Task.confidence`, if it is known already

    def visible(self, hidden: Collection[int] = (), at_least: float = 0.0) -> Decided:
        """Return a copy in which some pixels are background: as a viewer shows it.

        hidden: values of the prediction. at_least: a probability, 0..1; pixels whose label has less become background,
        by the network's own probabilities, without refined edges.
        """
        seen = np.arange(256, dtype=np.uint8)
        seen[list(hidden)] = BACKGROUND
        prediction = np.take(seen, self.prediction)
        if at_least > 0:
            for place, stripe in probability_stripes(self.result.logits, prediction.shape):
                unsure = self.task.probability_of(prediction[place], stripe) < at_least
                prediction[place][unsure] = BACKGROUND
        return replace(self, prediction=prediction, confidence=None if at_least else self.confidence)

    def found(self) -> list[Found]:
        """Return the object classes that have pixels, the largest first."""
        # Not np.bincount: it would allocate 8 bytes per pixel.
        pixels = np.array([np.count_nonzero(self.prediction == number) for number in range(self.task.num_classes)])
        confidence = self.confidence
        if confidence is None:
            confidence = self.task.confidence(self.result.logits, self.prediction)
        numbers = [number for number in np.argsort(-pixels, kind="stable") if number != BACKGROUND and pixels[number]]
        return [
            Found(
                id=self.task.object_id if self.task.binary else int(number),
                name=self.task.names[number],
                friendly=self.task.friendly_names[number],
                number=int(number),
                pixels=int(pixels[number]),
                share=float(pixels[number] / self.prediction.size),
                confidence=float(confidence[number]),
            )
            for number in numbers
        ]

    def record(self, file_name: str) -> dict[str, object]:
        """Return the JSON record of the command `predict`. `rle` is COCO's compressed run-length encoding."""
        height, width = self.result.size_hw
        provenance = self.result.provenance
        return {
            "schema": SCHEMA,
            "file": file_name,
            "width": width,
            "height": height,
            "model": public_name(provenance.model),
            "weights_sha256": provenance.weights_sha256,
            "resize": provenance.resize,
            **arithmetic_record(provenance),
            "seconds": round(provenance.seconds, 4),
            "mode": self.task.mode,
            "classes": [
                {
                    "id": each.id,
                    "name": each.name,
                    "pixels": each.pixels,
                    "share": each.share,
                    "confidence": each.confidence,
                    "rle": encode_rle(self.prediction == each.number),
                }
                for each in self.found()
            ],
        }

    def description(self) -> str:
        """Return one line about the provenance, which is written into the images."""
        provenance = self.result.provenance
        return (
            f"{public_name(provenance.model)} ({provenance.weights_sha256[:8]}) - {mode(self.task.record())} - "
            f"resize {provenance.resize}, {arithmetic(arithmetic_record(provenance))}"
        )

    def save(self, picture: Image.Image, file: Path) -> None:
        """Write one of the images as PNG, with the description."""
        # Pillow's default level takes three times as long and saves a twelfth of the bytes.
        picture.save(file, "PNG", pnginfo=described(self.description()), compress_level=1)

    def save_photograph(self, picture: Image.Image, file: Path) -> None:
        """Write one of the images that look like the photograph as JPEG, with the description. Labels would blur."""
        picture.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0, comment=self.description())

    def labels_image(self) -> Image.Image:
        """Return the label map as a palette image of VOC ids with VOC's colours."""
        return drawing.labels_image(self.task.voc_labels(self.result.logits, self.prediction, self.result.edges))

    def overlay(self, photograph: np.ndarray, alpha: float = 0.5, *, outline: bool = True) -> Image.Image:
        """Return the photograph, uint8 (H, W, 3) of the prediction's size, with the prediction painted over it."""
        palette = self.task.palette
        return Image.fromarray(
            drawing.overlay(photograph, self.prediction, alpha=alpha, palette=palette, outline=outline)
        )

    def save_probabilities(self, path: Path) -> None:
        """Write `probabilities`, float16 (n, H, W) in the order of `classes`, and the settings, as compressed .npz.

        The planes can be larger than memory, so they are collected in a temporary file in the same folder.
        """
        shape = len(self.result.categories), *self.result.size_hw
        with tempfile.TemporaryFile(dir=path.parent) as file:
            if hasattr(os, "posix_fallocate"):  # writing to mapped memory on a full disk would kill the process
                os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * np.dtype(np.float16).itemsize)
            planes = np.memmap(file, np.float16, "w+", shape=shape)
            for place, stripe in self.result.probability_stripes():
                planes[:, *place] = stripe
            np.savez_compressed(
                path,
                probabilities=planes,
                classes=np.array(self.result.categories.names),
                model=public_name(self.result.provenance.model),
                resize=self.result.provenance.resize,
                refine=self.result.provenance.refine or "none",
            )

    def cutout(self, photograph: np.ndarray) -> Image.Image:
        """Return the objects on a transparent background: RGBA."""
        return Image.fromarray(drawing.cutout(photograph, self._is_object))

    @property
    def _is_object(self) -> np.ndarray:
        return self.prediction != BACKGROUND

    def mask_image(self) -> Image.Image:
        """Return the objects in white on black, without grey: mode "L"."""
        return Image.fromarray(self._is_object.view(np.uint8) * np.uint8(255))

    def soft_cutout(self, photograph: np.ndarray) -> Image.Image:
        """Return the objects with soft edges on a transparent background: RGBA."""
        return Image.fromarray(subjects.cut_out(photograph, subjects.soft_alpha(self._is_object)))

    def on_plain(self, photograph: np.ndarray) -> Image.Image:
        """Return the objects on white: RGB."""
        return Image.fromarray(subjects.on_plain(photograph, subjects.soft_alpha(self._is_object)))

    def on_blurred(self, photograph: np.ndarray) -> Image.Image:
        """Return the objects on a blurred copy of their background: RGB."""
        return Image.fromarray(subjects.on_blurred(photograph, subjects.soft_alpha(self._is_object)))


def decide(result: Result, task: Task, size_hw: tuple[int, int] | None = None) -> Decided:
    """Predict for a task, by default at the photograph's size."""
    size_hw = size_hw or result.size_hw
    if result.edges or (task.binary and task.threshold is not None):
        return Decided(result, task, *task.predict_with_confidence(result.logits, size_hw, result.edges))
    return Decided(result, task, task.predict(result.logits, size_hw))


def write_results(result: Result, task: Task, name: str, target: Path, *, cutout: bool, probabilities: bool) -> None:
    """Write TARGET_overlay.png, TARGET_labels.png, TARGET.json, and if wanted TARGET_cutout.png and TARGET.npz.

    name: the photograph's file name in the JSON. Raises UsageError for a result without its photograph, OSError if a
    file cannot be written.
    """
    photograph = result.image
    if photograph is None:
        raise UsageError("this result no longer holds its photograph, which its overlay needs")
    decided = decide(result, task)
    record = decided.record(name)
    with atomic_write(f"{target}{OVERLAY}") as file:
        decided.save(decided.overlay(photograph), file)
    with atomic_write(f"{target}{LABELS}") as file:
        decided.save(decided.labels_image(), file)
    if cutout:
        with atomic_write(f"{target}{CUTOUT}") as file:
            decided.save(decided.cutout(photograph), file)
    if probabilities:
        with atomic_write(f"{target}.npz") as file:
            decided.save_probabilities(file)
    write_json(Path(f"{target}.json"), record)


def encode_rle(mask: np.ndarray) -> dict[str, object]:
    """Encode a mask, bool (H, W), as COCO's {"size": [H, W], "counts": str}. `pycocotools.mask.decode` decodes it."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
