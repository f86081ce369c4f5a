"""The images that an evaluation's report shows: the worst, the best, and those whose truth may be wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from ..classes import IGNORE_INDEX
from ..evaluation.evaluate import evaluate
from ..evaluation.results import RANKED_BY, most_doubtful_first, worst_first
from ..evaluation.run import Run, Sample
from ..imaging import outlines
from ..truth.dataset import ImageId
from . import terms
from .html import Picture

_THIN = 5  # pixels; thinner regions, such as inaccurate borders, are not outlined unless there are no others


class Pictures(NamedTuple):
    """extremes: the worst, worst first, and then the best, best first. doubtful: the lowest label quality first."""

    extremes: list[Picture]
    doubtful: list[Picture]


def pictures(run: Run, record: dict, each: int = 4) -> Pictures:
    """Draw `each` of the worst, of the best, and of the images whose truth is most doubtful.

    record: the result of `Evaluation.to_dict` for the run. The network runs again for these images, because an
    evaluation keeps no images.
    """
    ranked = worst_first(record)
    worst, best = ranked[:each], ranked[max(each, len(ranked) - each) :][::-1]
    doubtful = most_doubtful_first(record)[:each]
    as_they_are, with_outline = ({row["image_id"] for row in rows} for rows in (worst + best, doubtful))
    drawn: dict[tuple[ImageId, bool], bytes] = {}

    def draw(sample: Sample) -> None:
        if sample.image.id in as_they_are:
            drawn[sample.image.id, False] = sample.figure(run)
        if sample.image.id in with_outline:
            outline = largest_difference(sample.prediction, sample.truth)
            drawn[sample.image.id, True] = sample.figure(run, outline)

    wanted = tuple(image for image in run.images if image.id in as_they_are | with_outline)
    evaluate(replace(run, images=wanted), on_image=draw)

    def picture(row: dict, caption: str, outlined: bool = False) -> Picture:
        return Picture(row["image_id"], row["file_name"], caption, drawn[row["image_id"], outlined])

    return Pictures(
        [picture(row, _caption(kind, row)) for kind, rows in (("Worst", worst), ("Best", best)) for row in rows],
        [picture(row, f"Label quality {terms.number(row['label_quality'])}", outlined=True) for row in doubtful],
    )


def largest_difference(prediction: np.ndarray, truth: np.ndarray) -> outlines.Ring | None:
    """Return the outline of the largest region where prediction and truth differ; None if they do not.

    Both are uint8 (H, W); pixels whose truth is 255 do not count. Regions thinner than 5 pixels come last.
    """
    differs = (prediction != truth) & (truth != IGNORE_INDEX)
    mask = Image.fromarray(differs.view(np.uint8))
    opened = mask.filter(ImageFilter.MinFilter(_THIN)).filter(ImageFilter.MaxFilter(_THIN))
    broad = np.asarray(opened).astype(bool) & differs
    return max(outlines.rings(broad if broad.any() else differs), key=outlines.area, default=None)


def _caption(kind: str, row: dict) -> str:
    score = row[RANKED_BY]
    found = "nothing there, and nothing found" if score is None else f"mean IoU of the objects {score:.2f}"
    return f"{kind}: {found}"
