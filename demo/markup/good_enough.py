"""Says whether a score is good: in words beside each score, and with pictures in the tab "Guide"."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from segcore.categories import VOC, Categories
from segcore.models import catalogue
from segcore.report.terms import LEVELS, POOR, iou_word

if TYPE_CHECKING:
    from demo.answers.overlaps import Overlap, Overlaps

IOUS = tuple(least for least, _ in LEVELS)
LOWER_IS_BETTER = ("mse", "brier")
_IOUS = ("foreground_mean_iou", "mean_iou")
_CLOSE = 0.02  # scores that differ by less are called alike


def comparison(key: str, value: float | None, floor: float | None, published: float | None) -> str:
    """Return how a score compares, in words; empty if there is nothing to compare it with.

    floor: the score of a prediction of nothing but background. published: of the model, or of the big one.
    """
    if value is None:
        return ""
    parts = [f"<b>{iou_word(value)}</b>"] if key in _IOUS else []
    if floor is not None and not math.isnan(floor):
        gain = floor - value if key in LOWER_IS_BETTER else value - floor
        relation = "no better than" if gain < _CLOSE / 10 else "better than"
        parts.append(f"{relation} all background ({floor:.2f})")
    if published is not None:
        relation = "close to" if abs(value - published) <= _CLOSE else "above" if value > published else "below"
        parts.append(f"{relation} the published {published:.2f}")
    return "; ".join(parts)


def published_scores(model: str, categories: Categories = VOC) -> tuple[str, dict[str, float]]:
    """Return a model's title and published scores by their keys; those of the big model for a model without any.

    Both are empty for a model of other categories than VOC's, for which nothing is published.
    """
    if categories != VOC:
        return "", {}
    name = model if model in catalogue.PUBLISHED else catalogue.PREFERRED
    return catalogue.entry(name).title, dict(catalogue.PUBLISHED[name])


def remark(title: str) -> str:
    """Return the line below the scores that explains the comparisons. title: of the published model, or ""."""
    where = "on all of COCO val2017, by torchvision's protocol; one picture can lie far from it."
    published = f" Published: {escape(title)} {where}" if title else ""
    return (
        f'<p class="provenance">All background: an answer without any object.{published} '
        "The Guide shows what 0.5, 0.75 and 0.9 look like.</p>"
    )


def guide(shown: Overlaps) -> str:
    """Return the Guide's part on what a good IoU is, for `demo/view/overlap.js`."""
    width, height = shown.size
    figures = "".join(_figure(each, shown) for each in reversed(shown.predictions))
    levels = " ".join(f"{least}:{word}" for least, word in LEVELS)
    published = ", ".join(
        f"{scores['mean_iou']:.2f} for {escape(catalogue.entry(name).title)}"
        for name, scores in catalogue.PUBLISHED.items()
    )
    return f"""<section class="good-enough" data-levels="{levels}" data-poor="{POOR}">
<h2>Is 0.5 good?</h2>
<p><b>IoU</b> is short for intersection over union: the area that truth and prediction share, divided by the area that
either of them covers. 1 is a perfect match, 0 is none. It is stricter than it sounds:</p>
<svg class="source" width="0" height="0" aria-hidden="true"><defs>
<image id="overlap-photo" href="{shown.photo}" width="{width}" height="{height}" preserveAspectRatio="none"/>
<path id="overlap-truth" d="{shown.truth}"/></defs></svg>
<div class="figures">{figures}</div>
<p class="key"><span class="truth"></span>truth <span class="prediction"></span>prediction</p>
<p><b>Try it.</b> Drag the filled square, or use the slider and its arrow keys.</p>
<div class="try">
<svg viewBox="0 0 300 140" role="img" aria-label="Two overlapping squares"><rect class="truth" x="20" y="20" width="100"
height="100"/><rect class="prediction" x="20" y="20" width="100" height="100"/></svg>
<div><label>Moved aside by <input type="range" min="0" max="140" value="33" aria-valuetext=""></label>
<p class="said" role="status"></p>
<p class="steps"></p></div>
</div>
<p>Published mean IoU on COCO val2017: {published}. A prediction of nothing but background has a high pixel
accuracy, since most of a photograph is background, but the IoU of its objects is 0: look at that first.</p>
</section>"""


def _figure(prediction: Overlap, shown: Overlaps) -> str:
    width, height = shown.size
    word = iou_word(prediction.iou)
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="A {word} prediction, IoU '
        f'{prediction.iou:.2f}"><use href="#overlap-photo"/><path class="prediction" d="{prediction.path}"/>'
        f'<use class="truth" href="#overlap-truth"/></svg>'
        f"<figcaption><b>{prediction.iou:.2f}</b> {word}</figcaption></figure>"
    )
