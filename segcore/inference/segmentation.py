"""What the network said of one photograph, and all that is derived from it."""

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

LOGITS = ("float16", "float32")  # what they may be kept in


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What the network said of one photograph, a few hundred KB; every label, probability and mask is derived from it.

    logits: float16 or float32 (classes, h, w), 21 for VOC's, at the network's own stride, with the geometry of the
    whole photograph.
    size_hw: the photograph's (height, width) in pixels.
    image: uint8 (height, width, 3), the photograph itself, or None once dropped.
    categories: what the model tells apart.
    name: what files made of it are called.
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
        """The label map at any size: uint8 (H, W)."""
        return self.edges.label_map(size_hw) if self.edges else upsampling.label_map(self.logits, size_hw)

    def probability(self, name: str | int, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """P(class), or 1 - P(background) for "any": float32 (H, W), at the photograph's size by default."""
        size_hw, number = size_hw or self.size_hw, self.categories.object_id(name)
        if self.edges is None:
            return upsampling.probability(self.logits, size_hw, number)
        result = np.empty(size_hw, np.float32)
        for place, stripe in self.edges.probability_stripes(size_hw, number):
            result[place] = stripe
        return result

    def probabilities(self) -> np.ndarray:
        """P of each class at the photograph's size: float32 (classes, height, width). 4 bytes a class and pixel."""
        result = np.empty((len(self.logits), *self.size_hw), np.float32)
        for place, stripe in self.probability_stripes():
            result[:, *place] = stripe
        return result

    def probability_stripes(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield ((rows, columns), P of each class there), some rows at a time: float32 (classes, rows, columns)."""
        if self.edges is None:
            return upsampling.probability_stripes(self.logits, self.size_hw)
        return upsampling.resized_stripes(self.edges.smoothed(range(len(self.logits))), self.size_hw)

    def binary(
        self, name: str | int = "any", threshold: float | None = None, size_hw: tuple[int, int] | None = None
    ) -> np.ndarray:
        """One class, or "any" object, against all else: bool (H, W); arg-max by default, else P >= threshold (0..1)."""
        size_hw, number = size_hw or self.size_hw, self.categories.object_id(name)
        if self.edges:
            return self.edges.binary_mask(size_hw, number, threshold)
        return upsampling.binary_mask(self.logits, size_hw, number, threshold)

    def mean_confidence(self, labels: np.ndarray) -> np.ndarray:
        """The mean probability of each object's class over its own pixels in `labels`: float64 (n,).

        nan where it has none, and for the background.
        """
        return self.edges.mean_confidence(labels) if self.edges else upsampling.mean_confidence(self.logits, labels)

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The photograph with its classes painted over it, `alpha` from 0 (not seen) to 1 (opaque)."""
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
        """Write what the command `predict` writes: <name>_overlay.png, <name>_labels.png and <name>.json.

        name: by default the result's own, which is its file's without suffix; files of that name are written over.
        cutout, probabilities: also <name>_cutout.png, <name>.npz. The folder is made where there is none.
        Returns the path of the JSON. Raises UsageError for a name that leaves the folder and for a result that no
        longer holds its photograph, OSError where nothing can be written.
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
        """The label map as a document in COCO's format, one annotation for each class found.

        image_id: what the photograph is called by in "images" and "annotations". polygons: outlines instead of
        run-length encodings; both are exact, and regions with holes are cut, since COCO's outlines have none.
        VOC's classes have COCO's category ids, others their own numbers.
        """
        return coco_annotations.coco_document(
            self.labels, self.categories, file_name=self.name, image_id=image_id, as_polygons=polygons
        )

    def polygons(self, name: str | int = "any", threshold: float | None = None) -> list[np.ndarray]:
        """The outlines of a class, or of "any" object, each float64 (n, 2) of x, y in pixels, exact to the pixel.

        Outer outlines run clockwise on the screen, those of holes the other way round. threshold: as in `binary`.
        """
        return outlines.rings(self.binary(name, threshold))

    def legend(self) -> Image.Image:
        """The names and colours of the classes that the overlay shows, one below the other; else of the background."""
        present = [int(number) for number in np.unique(self.labels) if number != BACKGROUND] or [BACKGROUND]
        palette = self.categories.screen_palette
        return figures.legend_image([(self.categories.friendly[number], palette[number]) for number in present])

    def refined(self, photograph: np.ndarray | None = None) -> Segmentation:
        """The same result with borders that follow the photograph; its logits stay as they are.

        Labels and masks come of smoothed probabilities then, and those are what is given for probabilities.
        photograph: uint8 (H, W, 3) of any size, by default the one that the result holds.
        Raises UsageError where there is no photograph, and where OpenCV is not installed.
        """
        photograph = self.image if photograph is None else photograph
        if photograph is None:
            raise UsageError("this result no longer holds its photograph; give it: result.refined(photograph)")
        return replace(self, provenance=replace(self.provenance, refine=EDGES), _edges=Edges(self.logits, photograph))

    def without_image(self) -> Segmentation:
        """The same result without its photograph: what is worth keeping or sending.

        A refined one needs the photograph again, by `refined`, before it can tell labels.
        """
        return replace(self, image=None, _edges=None)

    @property
    def edges(self) -> Edges | None:
        """What decides instead of the logits alone, where the result is refined.

        Raises UsageError where that was dropped with the photograph.
        """
        if self.provenance.refine and self._edges is None:
            raise UsageError(
                "the edges that this result follows went with its photograph; give that: result.refined(photograph)"
            )
        return self._edges
