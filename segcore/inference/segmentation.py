"""`Segmentation`: the result for one photograph, and everything that is derived from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..categories import VOC, Categories
from ..classes import BACKGROUND
from ..errors import LabelError, UsageError
from ..imaging import drawing, figures, outlines
from . import coco_annotations, export, upsampling
from .old_names import renamed_attribute
from .provenance import Provenance
from .refine import EDGES, Edges
from .task import Task
from .upsampling import Place

LOGITS = ("float16", "float32")  # allowed dtypes of the logits


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The network's result for one photograph, a few hundred KB. Labels, probabilities and masks are derived from it.

    logits: float16 or float32 (classes, h, w) at the network's stride; they cover the whole photograph.
    size_hw: the photograph's (height, width) in pixels.
    provenance: the model, device and settings that gave the result.
    image: the photograph, uint8 (height, width, 3), or None once dropped.
    categories: the model's classes; 21 for VOC.
    name: the name of files made from the result.
    """

    logits: np.ndarray = field(repr=False)
    size_hw: tuple[int, int]
    provenance: Provenance
    image: np.ndarray | None = field(default=None, repr=False)
    categories: Categories = field(default=VOC, repr=False)
    _edges: Edges | None = field(default=None, repr=False)  # where the result is refined
    name: str = "image"

    made_by = renamed_attribute("made_by", "provenance")

    def __post_init__(self) -> None:
        if self.logits.ndim != 3 or len(self.logits) != len(self.categories):
            raise LabelError(f"logits must be ({len(self.categories)}, h, w), got {self.logits.shape}")
        if self.logits.dtype not in LOGITS:
            raise LabelError(f"logits must be {' or '.join(LOGITS)}, got {self.logits.dtype}")
        if self.image is not None and self.image.shape != (*self.size_hw, 3):
            raise LabelError(f"the photograph must be {(*self.size_hw, 3)}, got {self.image.shape}")

    @property
    def labels(self) -> np.ndarray:
        """The label map at the photograph's size: uint8 (height, width), VOC ids 0..20 or the model's own."""
        return self.labels_at(self.size_hw)

    def labels_at(self, size_hw: tuple[int, int]) -> np.ndarray:
        """Return the label map at any size: uint8 (H, W)."""
        return self.edges.label_map(size_hw) if self.edges else upsampling.label_map(self.logits, size_hw)

    def probability(self, name: str | int, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Return P(class), or 1 - P(background) for "any": float32 (H, W), by default at the photograph's size.

        name: of the class, or its number. Raises UsageError for the background and for an unknown class.
        """
        size_hw, number = size_hw or self.size_hw, self.categories.object_id(name)
        if self.edges is None:
            return upsampling.probability(self.logits, size_hw, number)
        result = np.empty(size_hw, np.float32)
        for place, stripe in self.edges.probability_stripes(size_hw, number):
            result[place] = stripe
        return result

    def probabilities(self) -> np.ndarray:
        """Return all probabilities at the photograph's size: float32 (classes, height, width)."""
        result = np.empty((len(self.logits), *self.size_hw), np.float32)
        for place, stripe in self.probability_stripes():
            result[:, *place] = stripe
        return result

    def probability_stripes(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield ((rows, columns), probabilities) in stripes: float32 (classes, rows, columns)."""
        if self.edges is None:
            return upsampling.probability_stripes(self.logits, self.size_hw)
        return upsampling.resized_stripes(self.edges.smoothed(range(len(self.logits))), self.size_hw)

    def binary(
        self, name: str | int = "any", threshold: float | None = None, size_hw: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Return the mask of a class, or of "any" object: bool (H, W), by arg-max, or by P >= threshold (0..1).

        name: of the class, or its number. Raises UsageError for the background, for an unknown class and for another
        threshold.
        """
        size_hw, number = size_hw or self.size_hw, self.categories.object_id(name)
        if self.edges:
            return self.edges.binary_mask(size_hw, number, threshold)
        return upsampling.binary_mask(self.logits, size_hw, number, threshold)

    def mean_confidence(self, labels: np.ndarray) -> np.ndarray:
        """Return the mean probability of each object class over its pixels in `labels`: float64 (n,).

        It is nan for a class without pixels and for the background.
        """
        return self.edges.mean_confidence(labels) if self.edges else upsampling.mean_confidence(self.logits, labels)

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """Return the photograph with its classes painted over it. alpha: from 0 (invisible) to 1 (opaque).

        Raises UsageError for another alpha and for a result without its photograph.
        """
        if self.image is None:
            raise UsageError(
                "this result no longer holds its photograph; use segcore.imaging.drawing.overlay(photograph, labels)"
            )
        palette = self.categories.screen_palette
        return Image.fromarray(drawing.overlay(self.image, self.labels, alpha=alpha, palette=palette))

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        cutout: bool = False,
        probabilities: bool = False,
    ) -> Path:
        """Write the files of the command `predict`: <name>_overlay.png, <name>_labels.png and <name>.json.

        name: by default the photograph's file name without suffix. Existing files are replaced. cutout, probabilities:
        also write <name>_cutout.png, <name>.npz. The folder is created if needed. Returns the path of the JSON file.
        Raises UsageError for a name with a folder in it and for a result without its photograph, OSError if a file
        cannot be written.
        """
        name = self.name if name is None else name
        if not name or Path(name).name != name:
            raise UsageError(f"expected a name of files without folders, got {name!r}")
        target = Path(folder) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        task = Task(categories=self.categories)
        export.write_results(self, task, name, target, cutout=cutout, probabilities=probabilities)
        return Path(f"{target}.json")

    def to_coco(self, *, image_id: int = 1, polygons: bool = False) -> dict[str, list[dict[str, Any]]]:
        """Convert the label map to a document in COCO's format, with one annotation for each class found.

        image_id: the photograph's id in "images" and "annotations". polygons: write outlines instead of run-length
        encodings. Both are exact; regions with holes are cut, because COCO's outlines cannot have holes.
        VOC's classes get COCO's category ids, other classes their own numbers.
        """
        return coco_annotations.coco_document(
            self.labels, self.categories, file_name=self.name, image_id=image_id, as_polygons=polygons
        )

    def polygons(self, name: str | int = "any", threshold: float | None = None) -> list[np.ndarray]:
        """Return the outlines of a class, or of "any" object, each float64 (n, 2) of x, y in pixels, along pixel edges.

        On the screen, outer outlines run clockwise and outlines of holes counter-clockwise. threshold: as in `binary`.
        """
        return outlines.rings(self.binary(name, threshold))

    def legend(self) -> Image.Image:
        """Draw a legend of the classes in the overlay; without objects, it shows the background."""
        present = [int(number) for number in np.unique(self.labels) if number != BACKGROUND] or [BACKGROUND]
        palette = self.categories.screen_palette
        return figures.legend_image([(self.categories.friendly[number], palette[number]) for number in present])

    def refined(self, photograph: np.ndarray | None = None) -> Segmentation:
        """Return the same result with borders that follow the photograph's edges. The logits do not change.

        Its labels, masks and probabilities come from smoothed probabilities. photograph: uint8 (H, W, 3) of any size,
        by default the one in the result. Raises UsageError without a photograph, and if OpenCV is not installed.
        """
        photograph = self.image if photograph is None else photograph
        if photograph is None:
            raise UsageError("this result no longer holds its photograph; give it: result.refined(photograph)")
        return replace(self, provenance=replace(self.provenance, refine=EDGES), _edges=Edges(self.logits, photograph))

    def without_image(self) -> Segmentation:
        """Return the same result without its photograph, to keep or send it.

        A refined result needs the photograph again, by `refined`, before it can give labels.
        """
        return replace(self, image=None, _edges=None)

    @property
    def edges(self) -> Edges | None:
        """The refinement that predicts instead of the logits, or None.

        Raises UsageError if it was dropped with the photograph.
        """
        if self.provenance.refine and self._edges is None:
            raise UsageError(
                "the edges that this result follows went with its photograph; give that: result.refined(photograph)"
            )
        return self._edges
