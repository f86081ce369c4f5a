"""The page's tables and messages as HTML. All names and numbers are escaped. Nothing here imports Gradio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from demo.markup import good_enough
from demo.waiting.turns import in_words
from segcore.models import catalogue
from segcore.report.terms import OVERALL, PER_CLASS, RESIZES, number, percent, score_words

if TYPE_CHECKING:
    from demo.answers.comparison import ComparedView
    from demo.answers.model_pool import Fetching
    from demo.answers.photographs import PhotographView
    from demo.answers.samples import Credit, Sample
    from segcore.imaging.drawing import ErrorKind
    from segcore.inference.provenance import Provenance
    from segcore.inference.task import Task

_ENGINES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, keys: Iterable[str] = ()) -> str:
    """Return a table. Cells are HTML already. keys: the rows' names for scripts."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    named = list(keys)
    body = ""
    for position, (first, *rest) in enumerate(rows):
        key = f' data-key="{escape(named[position])}"' if named else ""
        body += f'<tr{key}><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
    return (
        f'<div class="table"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _swatched(name: str, color: str) -> str:
    return f'<span class="swatch" style="background:{color}"></span>{escape(name)}'


def _color(task: Task, row: int) -> str:
    return "#" + bytes(task.palette[row]).hex()


def found(view: PhotographView) -> str:
    """Return the table of the classes found, largest first, with area and mean confidence."""
    if not view.found:
        return ""
    rows = [
        (_swatched(each.friendly, _color(view.task, each.number)), percent(each.share), f"{each.confidence:.2f}")
        for each in view.found
    ]
    keys = [each.name for each in view.found]
    return _table(("Class", "Area", "Confidence"), rows, caption="What was found", keys=keys)


def overall(view: ComparedView) -> str:
    """Return the table of overall scores with their meanings, and how they compare."""
    rows, scores, floors, task = [], view.record["dataset"], view.all_background, view.task
    title, published = good_enough.published_scores(view.provenance.model, task.categories)
    for key in OVERALL:
        name, meaning = score_words(key, task.friendly_names[1] if task.binary else None)
        known = None if task.binary else published.get(key)  # published for all classes together
        compares = good_enough.comparison(key, scores[key], floors.get(key), known)
        rows.append((escape(name), f'<b data-score="{key}">{number(scores[key])}</b>', escape(meaning), compares))
    header = "Score", "Value", "What it says", "How it compares"
    table = _table(header, rows, caption="Scores of this picture", keys=OVERALL)
    return table + good_enough.remark(title)


def per_class(view: ComparedView) -> str:
    """Return the scores of the classes in the truth or the prediction, and the kinds of error."""
    scores, matrix, task = view.record["per_class"], view.matrix, view.task
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    present = [row for row in range(len(matrix)) if true[row] or predicted[row]]
    rows, keys = [], []
    for row in present:
        name = task.names[row]
        values = [number(scores[name][key]) for key in PER_CLASS]
        swatch = _swatched(task.friendly_names[row], _color(task, row))
        rows.append((swatch, *values, f"{true[row]:,}", f"{predicted[row]:,}"))
        keys.append(name)
    header = ("Class", *PER_CLASS.values(), "True pixels", "Predicted pixels")
    return _table(header, rows, caption="Scores of each class", keys=keys) + _errors(view.kinds)


def _errors(kinds: Sequence[tuple[ErrorKind, int]]) -> str:
    """Return the kinds of the map of errors with their numbers of pixels, and the total."""
    total = sum(pixels for _, pixels in kinds)
    rows = [
        (_swatched(kind.name, kind.color or "transparent"), f"{pixels:,}", f"{100 * pixels / total:.1f} %")
        for kind, pixels in kinds
    ]
    rows.append(("all pixels", f"{total:,}", "100.0 %"))
    keys = [*(kind.name for kind, _ in kinds), "all"]
    return _table(("Kind", "Pixels", "Share"), rows, caption="The map of errors", keys=keys)


def provenance(view: PhotographView | ComparedView) -> str:
    """Return the line under a result: its model, device, settings and protocol."""
    made, protocol = view.provenance, getattr(view, "protocol", None)
    parts = [
        f"<b>{escape(catalogue.entry(made.model).title)}</b>",
        f"weights {made.weights_sha256[:8]}",
        escape(made.device.upper()),
        escape(made.precision),
        *filter(None, [_ENGINES.get(made.engine)]),
        *["test-time augmentation"] * made.tta,
        *["sharp edges"] * (made.refine is not None),
        RESIZES[made.resize],
    ]
    if protocol:
        parts.append(f"protocol <b>{escape(protocol.name)}</b>: {escape(protocol.summary)}")
        if made.refine is None:
            parts.append("borders as the network draws them, not sharpened")
    parts.append(f"network {made.seconds:.2f} s")
    return f'<p class="provenance" data-network-runs="{view.network_runs}">{" · ".join(parts)}</p>'


def kept(megabytes: float, how_long: str) -> str:
    """Return the line below the upload: the size limit, and when photographs are deleted."""
    text = f"Up to {megabytes:g} MB. Processed on the machine that runs this page, and deleted after {how_long}."
    return f'<p class="provenance">{text}</p>'


def notice(text: str, *, kind: str = "info") -> str:
    """Return a notice; empty for an empty text. The lines of a text are translated one by one."""
    lines = "<br>".join(map(escape, text.splitlines()))
    return f'<p class="notice {kind}" role="status">{lines}</p>' if text else ""


def credit(whose: Credit | None) -> str:
    """Return the line with author and licence of a photograph that ships with the code; empty for None."""
    if whose is None:
        return ""
    name = escape(whose.name) if whose.url is None else _link(whose.url, whose.name)
    parts = [f"Photograph: {name}", _link(whose.licence_url, whose.licence)]
    if whose.from_coco:
        annotations = _link("https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0")
        parts.append(f"from {_link('https://cocodataset.org', 'COCO 2017')}, annotations {annotations}")
    return f'<p class="provenance">{" · ".join(parts)}</p>'


def _link(url: str, text: str) -> str:
    return f'<a href="{escape(url)}" target="_blank" rel="noopener">{escape(text)}</a>'


def fails(sample: Sample | None, made: Provenance) -> str:
    """Return the notice on the shipped model's errors in a sample, if this model gave the result."""
    return notice(sample.fails) if sample and made.model == catalogue.SHIPPED else ""


def waiting(ahead: int, seconds: float) -> str:
    """Return a notice with a request's place in the queue."""
    return notice(place_in_words(ahead, seconds))


def place_in_words(ahead: int, seconds: float) -> str:
    """Return a request's place in the queue as a sentence."""
    before = f"{ahead} ahead of you" if ahead else "You are next"
    return f"{before}, {in_words(seconds)}."


def bar(text: str, share: float | None) -> str:
    """Return a progress bar with its text. share: 0..1, None if it is not known."""
    value = "" if share is None else f' value="{share:.4f}"'
    return (
        f'<div class="progress"><p role="status">{escape(text)}</p><progress max="1"{value} '
        f'aria-label="{escape(text)}"></progress></div>'
    )


def own_truth(file_name: str, read_as: str) -> str:
    """Return the name of a visitor's truth, and how it was interpreted."""
    return f'<p class="notice" role="status"><b>{escape(file_name)}</b><br>{escape(read_as)}</p>'


def verdict(text: str) -> str:
    """Return the verdict."""
    return f'<p class="verdict" role="status">{escape(text)}</p>'


def download_state(model: str, state: Fetching | None, *, here: bool) -> tuple[str, bool, bool]:
    """Return the state of the big model's download: HTML, whether it is running, whether the model can be used."""
    title = escape(catalogue.entry(model).title)
    if here:
        return f'<p class="notice">{title}, the big model, is here.</p>', False, True
    if state and state.error:
        text = f"{title}, the big model, could not be downloaded. The small one goes on answering."
        reason = f"<details><summary>Why?</summary>{escape(state.error)}</details>"
        return f'<div class="notice"><p>{text}</p>{reason}</div>', False, False
    share = f": {state.done / state.total:.0%} of {state.total / 1e6:.0f} MB" if state and state.total else ""
    text = f"{title}, the big model, is being downloaded{share}. The small one answers until then."
    return f'<p class="notice">{text}</p>', True, False


def where(page_number: int, pages: int, images: int) -> str:
    """Return the position in a gallery of several pages."""
    return f'<p class="where">page {page_number} of {pages}<br>{images:,} images</p>'
