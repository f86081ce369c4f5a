"""The worst and the best images of an evaluation, as figures for its report."""

from __future__ import annotations

from dataclasses import replace

from ..evaluation.evaluate import evaluate
from ..evaluation.results import RANKED_BY, worst_first
from ..evaluation.run import Run, Sample
from ..truth.dataset import ImageId
from .html import Picture


def extremes(run: Run, record: dict, each: int = 4) -> list[Picture]:
    """Draw the worst images of an evaluation, worst first, and then the best, best first.

    record: the result of `Evaluation.to_dict` for the run. The network runs again for these images, because an
    evaluation keeps no images.
    """
    ranked = worst_first(record)
    worst, best = ranked[:each], ranked[max(each, len(ranked) - each) :][::-1]
    wanted = {row["image_id"] for row in worst + best}
    figures: dict[ImageId, bytes] = {}

    def draw(sample: Sample) -> None:
        figures[sample.image.id] = sample.figure(run)

    evaluate(replace(run, images=tuple(image for image in run.images if image.id in wanted)), on_image=draw)
    return [
        Picture(row["image_id"], row["file_name"], _caption(kind, row), figures[row["image_id"]])
        for kind, rows in (("Worst", worst), ("Best", best))
        for row in rows
    ]


def _caption(kind: str, row: dict) -> str:
    score = row[RANKED_BY]
    found = "nothing there, and nothing found" if score is None else f"mean IoU of the objects {score:.2f}"
    return f"{kind}: {found}"
