"""The HTML of the tab for a whole set. The downloadable report has the same parts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from demo.markup.tables import bar, place_in_words
from segcore.report import parts, terms

if TYPE_CHECKING:
    from demo.answers.datasets import Collecting
    from demo.answers.samples import Sample
    from demo.answers.whole_set import Outcome, Progress
    from demo.waiting.turns import Place


MOST_SKIPPED = 50  # images left out that are named on the page


def welcome() -> str:
    """Return the text before the first evaluation."""
    return (
        '<div class="welcome"><p><b>How good is the model on many images?</b></p>'
        "<p>One picture says little. Choose how many images to score, press <b>Score the images</b>, and see what the "
        "model finds and misses, how sure that is, and on which images it fails.</p></div>"
    )


def waiting() -> str:
    """Return the text between the click and the first image or the first place in the queue."""
    return bar("Getting ready.", None)


def in_line(place: Place) -> str:
    """Return an evaluation's place in the queue."""
    return bar(f"Waiting for other evaluations: {place_in_words(place.ahead, place.seconds)}", None)


def progress(said: Progress) -> str:
    """Return an evaluation's progress and the time left."""
    text = f"{said.model}: {said.done:,} of {said.total:,} images"
    if said.seconds_left is not None:
        text += f", about {duration(said.seconds_left)} left"
    return bar(text, said.done / said.total)


def duration(seconds: float) -> str:
    """Format a duration: 8 s, 3 min, 2.0 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def collecting(state: Collecting | None) -> str:
    """Return the progress of a download from COCO; empty before the first."""
    if state is None:
        return ""
    if state.finished:
        return f'<p class="notice" role="status">{escape(state.outcome)}</p>'
    in_bytes = state.stage == "annotations"
    done = f"{state.done / 1e6:.0f} MB" if in_bytes else f"{state.done:,}"
    text = f"Fetching {state.stage}: {done}" if state.stage else "Asking COCO's server"
    if state.total:
        text += f" of {state.total / 1e6:.0f} MB" if in_bytes else f" of {state.total:,}"
    return bar(text, state.done / state.total if state.total else None)


def summary(outcome: Outcome) -> str:
    """Return the main scores and the findings."""
    stopped = ""
    if outcome.stopped:
        images = terms.count_of_images(outcome.record["images"])
        why = " The time limit was reached; score the images again to continue." if outcome.timed_out else ""
        stopped = f'<p class="notice" role="status">Stopped: this is of {images} of {outcome.total:,}.{why}</p>'
    compared = "" if outcome.comparison is None else parts.compared(outcome.comparison)
    left_out = "" if outcome.maps is None else outcome.maps.unpacked.notice()
    notice = f'<p class="notice" role="status">{escape(left_out)}</p>' if left_out else ""
    stopped += notice + _skipped(outcome.record["skipped"])
    return f'{stopped}<div class="report">{parts.summary(outcome.record)}{compared}</div>'


def _skipped(skipped: list[dict[str, Any]]) -> str:
    """Return the images that were left out, with the reasons, at most MOST_SKIPPED; empty if there are none."""
    if not skipped:
        return ""
    named = [f"<li>{escape(each['file_name'])}: {escape(each['reason'])}</li>" for each in skipped[:MOST_SKIPPED]]
    more = len(skipped) - len(named)
    rest = f"<li>and {more:,} more; the report has them all</li>" if more else ""
    what = f"Left out: {terms.count_of_images(len(skipped))}"
    return f'<details class="notice"><summary>{what}</summary><ul>{"".join(named)}{rest}</ul></details>'


def charts(outcome: Outcome) -> str:
    """Return the charts and the tables of all scores."""
    return f'<div class="report"><section>{parts.details(outcome.record)}</section></div>'


def provenance(record: dict[str, Any]) -> str:
    """Return the line with the evaluation's settings."""
    told = " · ".join(f"{escape(name)}: {escape(value)}" for name, value in parts.settings_told(record).items())
    return f'<p class="provenance">{told}</p>'


DOUBT = (
    '<p class="provenance">The truth of these images may be wrong: the model disagrees with it most. Often the model '
    "is wrong instead. The number is the label quality, 0 to 1: low means that the truth is doubtful. Pick one to see "
    "both.</p>"
)


def doubt_caption(sample: Sample, row: dict) -> str:
    """Return how far an image's truth can be believed, and its caption."""
    return f"{row['label_quality']:.2f} · {sample.caption}"


def image_caption(sample: Sample, row: dict) -> str:
    """Return an image's score and its caption."""
    if "difference" in row:
        return f"{row['first']:.2f} → {row['second']:.2f} · {sample.caption}"
    score = row["foreground_mean_iou"]
    return f"{terms.NOT_DEFINED if score is None else f'{score:.2f}'} · {sample.caption}"


def behind_caption(sample: Sample, row: dict) -> str:
    """Return how many of an image's pixels are behind a score, and its caption."""
    pixels = row.get("pixels", row.get("wrong_pixels", 0))
    return f"{pixels:,} {'pixel' if pixels == 1 else 'pixels'} · {sample.caption}"


def behind_label(name: str, taken_for: str | None) -> str:
    """Return the label of the gallery of images behind a class, or behind its pixels that are taken for another."""
    if taken_for is None:
        return f"Most wrong pixels of {terms.friendly(name)}"
    if name == taken_for:
        return f"Smallest share of {terms.friendly(name)} right"
    return f"Most {terms.friendly(name)} taken for {terms.friendly(taken_for)}"


def choices(names: list[str], all_of_them: str) -> list[tuple[str, str]]:
    """Return a dropdown's choices: classes by their names for people. The value of `all_of_them` is empty."""
    return [(all_of_them, ""), *((terms.friendly(name), name) for name in names)]
