"""The evaluation protocols: how the image is resized, how the truth is built, and at which size they are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import UsageError
from ..truth.dataset import Dataset, ImageId

if TYPE_CHECKING:  # importing it would import PyTorch
    from ..models.transforms import Preprocess


@dataclass(frozen=True)
class Protocol:
    """One evaluation protocol.

    title, summary: texts for people. truth: the policy of `Dataset.truth` for overlaps and crowds. resize: the only
    resize that the protocol allows, or None if the caller may choose. at_input_size: compare at the network's input
    size instead of the photograph's size.
    """

    name: str
    title: str
    summary: str
    truth: str
    resize: str | None
    at_input_size: bool

    def resize_for(self, wanted: str) -> str:
        """Return the protocol's resize, or `wanted` if the caller may choose."""
        return self.resize or wanted

    def truth_at_scored_size(self, dataset: Dataset, image_id: ImageId, preprocess: Preprocess) -> np.ndarray:
        """Return the ground truth at the scored size: uint8 (H, W) of 0..20 and 255.

        Raises AnnotationError for a truth that cannot be read, and UsageError for an unknown image.
        """
        labels = dataset.truth(image_id, self.truth)
        if not self.at_input_size:
            return labels
        height, width = preprocess.size_hw(*labels.shape)
        return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "original",
            "Original size",
            "scored at the photograph's own size; crowds and overlaps of two classes are left out",
            truth="original",
            resize=None,
            at_input_size=False,
        ),
        Protocol(
            "torchvision",
            "torchvision's",
            "the published weights' own procedure: shorter side 520, scored at that size",
            truth="torchvision",
            resize="torchvision",
            at_input_size=True,
        ),
        Protocol(
            "report",
            "The report's",
            "photograph and truth both squeezed to 520 x 520, scored there",
            truth="torchvision",
            resize="squeeze",
            at_input_size=True,
        ),
    )
}


def protocol(name: str) -> Protocol:
    """Return the protocol called `name`. Raises UsageError, which lists the names, for any other."""
    if name not in PROTOCOLS:
        raise UsageError(f"there is no protocol {name!r}; choose one of: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
