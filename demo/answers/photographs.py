"""Segments photographs of visitors and writes the files that they download. Nothing here imports Gradio."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from demo.answers.certainty import Certainty
from demo.answers.model_pool import ModelPool
from demo.server.decoding import DECODERS
from demo.settings import AUTOMATIC_THRESHOLD, LOWEST_THRESHOLD
from demo.texts import ENGLISH, translate
from demo.view import pictures
from demo.waiting.turns import never
from demo.waiting.visits import GoneError
from segcore.categories import VOC, Categories
from segcore.classes import ANY_OBJECT_NAME, BACKGROUND, IGNORE_INDEX
from segcore.errors import UsageError
from segcore.imaging import names, reading
from segcore.inference.export import Decided, Found, decide
from segcore.inference.provenance import Provenance
from segcore.inference.segmenter import Segmentation
from segcore.inference.task import AUTOMATIC, Task
from segcore.report.terms import percent
from segcore.truth.supplied import OwnTruth

SCREEN_SIDE = 1600
MAX_RESULTS = 6  # results kept for each visitor; a squeezed one has 0.7 MB


def task_of(mode: str, class_name: str, automatic: bool, threshold: float | None, categories: Categories = VOC) -> Task:
    """Return the task of the page's controls. An empty threshold means automatic.

    categories: of the shown result. Raises UsageError for a class that its model does not know.
    """
    return Task(mode, class_name, None if automatic else threshold, categories)


def remembered(results: dict[tuple, Segmentation], key: tuple, result: Segmentation) -> dict[tuple, Segmentation]:
    """Return `results` with this one as the newest. The oldest beyond MAX_RESULTS are dropped."""
    kept = {each: results[each] for each in results if each != key} | {key: result}
    return dict(list(kept.items())[-MAX_RESULTS:])


@dataclass(frozen=True, eq=False)
class Shown:
    """The photograph and result that a visitor sees, and the visitor's earlier results.

    source: the uploaded file, for full-size downloads. key: the hash of its content. photo: the screen copy in the
    viewer's format.
    """

    source: Path
    key: str
    screen: np.ndarray = field(repr=False)
    photo: dict = field(repr=False)
    result: Segmentation
    results: dict[tuple, Segmentation] = field(default_factory=dict, repr=False)
    network_runs: int = 0

    @functools.cached_property
    def sharp(self) -> Segmentation:
        """The result with borders that follow the screen copy's edges. It caches what later views need."""
        return self.result.refined(self.screen)

    @functools.cached_property
    def certainty(self) -> Certainty:
        """How sure the model is, for every task."""
        return Certainty.of(self.result.logits, self.result.size_hw)

    def seen(self, sharp: bool) -> Segmentation:
        """Return the result with or without sharp edges."""
        return self.sharp if sharp else self.result

    def remember(self, key: tuple, result: Segmentation, *, ran: bool) -> Shown:
        """Return a copy that shows `result`. ran: whether the network ran for it."""
        kept = remembered(self.results, key, result)
        return replace(self, result=result, results=kept, network_runs=self.network_runs + ran)


def open_photograph(
    pool: ModelPool, before: Shown | None, source: str | Path, model: str, resize: str, tta: bool = False
) -> Shown:
    """Decode a photograph and segment it. Earlier results of the visitor are reused.

    Raises SegcoreError with a message for the visitor; the page then continues to show `before`.
    """
    source = Path(source)
    photograph = pool.read(source)
    key = hashlib.sha256(source.read_bytes()).hexdigest()
    screen = reading.fit_within(photograph, SCREEN_SIDE)
    shown = Shown(
        source=source,
        key=key,
        screen=screen,
        photo=pictures.encode_photo(screen),
        result=None,  # type: ignore[arg-type]  # follows at once
        results=before.results if before else {},
        network_runs=before.network_runs if before else 0,
    )
    return _segmented(pool, shown, photograph, model, resize, tta)


def segment_again(pool: ModelPool, shown: Shown, model: str, resize: str, tta: bool = False) -> Shown:
    """Segment the same photograph with other settings. The network runs only for settings that are new."""
    if is_known(pool, shown, model, resize, tta):
        return _segmented(pool, shown, None, model, resize, tta)
    with pool.turns.aside() as given_up:
        photograph = _read_again(shown, given_up)
    return _segmented(pool, shown, photograph, model, resize, tta)


def is_known(pool: ModelPool, shown: Shown, model: str, resize: str, tta: bool = False) -> bool:
    """Whether there is a result of the shown photograph with these settings, so that the network need not run."""
    return _result_key(pool, shown, model, resize, tta) in shown.results


def read_truth(shown: Shown, source: str | Path) -> OwnTruth:
    """Read a truth that the visitor uploaded for what is shown. It raises as `supplied.read_truth` does."""
    return DECODERS.truth(Path(source), shown.source, shown.result.size_hw)


def _read_again(shown: Shown, given_up: Callable[[], bool] = never) -> np.ndarray:
    """Decode the photograph again. It has already passed the limits."""
    try:
        size = shown.source.stat().st_size
    except FileNotFoundError as error:
        raise GoneError(
            "This photograph is no longer kept here: uploads are deleted after a while. Please give it again."
        ) from error
    pixels = math.prod(shown.result.size_hw)
    return DECODERS.photograph(shown.source, max_pixels=pixels, max_bytes=size, given_up=given_up)


def _result_key(pool: ModelPool, shown: Shown, model: str, resize: str, tta: bool) -> tuple:
    return shown.key, pool.resolve(model), resize, tta


def _segmented(
    pool: ModelPool, shown: Shown, photograph: np.ndarray | None, model: str, resize: str, tta: bool
) -> Shown:
    key = _result_key(pool, shown, model, resize, tta)
    if key in shown.results:
        return shown.remember(key, shown.results[key], ran=False)
    assert photograph is not None  # it is left out only for a result that is known
    result, ran = pool.segment_file(shown.source, photograph, model, resize=resize, tta=tta)
    return shown.remember(key, result, ran=ran)


@dataclass(frozen=True)
class PhotographView:
    """The values that the photograph tab shows: the viewer's value, the classes found, and the provenance."""

    viewer: dict
    task: Task
    found: Sequence[Found]
    provenance: Provenance
    network_runs: int


def view_photograph(shown: Shown, task: Task, sharp: bool = False) -> PhotographView:
    """Return the view of a result for a task. sharp: use borders that follow the photograph's edges."""
    result = shown.seen(sharp)
    decided = decide(result, task, shown.screen.shape[:2])
    found = decided.found()
    panel = pictures.panel(
        "Prediction",
        decided.prediction,
        class_legend(task, found),
        unpainted=unpainted(task),
        certainty=shown.certainty.encoded(decided.prediction, task),
    )
    message = "" if found else nothing_found(task)
    return PhotographView(
        viewer=pictures.view(shown.photo, [panel], message=message),
        task=task,
        found=found,
        provenance=result.provenance,
        network_runs=shown.network_runs,
    )


def nothing_found(task: Task) -> str:
    """Return the message for a prediction without objects."""
    if not task.binary:
        objects = task.friendly_names[1:]
        things = f"these {len(objects)} things" if len(objects) > 1 else "this thing"
        return f"Nothing found. I know only {things}: {', '.join(objects)}. Everything else is background to me."
    name = task.friendly_names[1]
    if task.threshold is None:
        hint = "Untick Automatic threshold, then lower the threshold to see weaker matches"
    elif task.threshold > LOWEST_THRESHOLD:
        hint = "Lower the threshold to see weaker matches"
    else:
        return f"No {'object' if name == ANY_OBJECT_NAME else name} found, even at the lowest threshold."
    if name == ANY_OBJECT_NAME:
        return f"No object found. {hint}."
    return f"No {name} found; nothing else was looked for. {hint}, or choose Multiclass to see everything."


def class_legend(task: Task, found: Sequence[Found]) -> list[dict]:
    """Return the viewer's legend of the classes found."""
    return [
        pictures.legend_entry(each.number, each.friendly, color_of(task, each.number), percent(each.share))
        for each in found
    ]


def color_of(task: Task, number: int) -> str:
    """Return the screen colour of a label, "#rrggbb"."""
    return "#" + bytes(task.palette[number]).hex()


def unpainted(task: Task) -> dict[int, str]:
    return {BACKGROUND: "everything else" if task.binary else "background", IGNORE_INDEX: "left out of the scores"}


@dataclass(frozen=True)
class Visible:
    """The part of a result that a visitor sees. Pictures to download show the same.

    hidden: values of the prediction that are not painted. opacity: of the overlay, 0..1. at_least: the probability,
    0..1, below which nothing is painted. named_in: the language of the names on the overlay; None for an overlay
    without names and outlines.
    """

    hidden: frozenset[int] = frozenset()
    opacity: float = 0.5
    at_least: float = 0.0
    named_in: str | None = ENGLISH


EVERYTHING = Visible()
DOWNLOADS = ("labels", "mask", "overlay", "cutout", "blurred", "plain", "json")
LIKE_PHOTOGRAPHS = ("overlay", "blurred", "plain")  # written as JPEG, which is smaller; it would mix labels
MAX_JPEG_SIDE = 65_500  # pixels, by the format


def write_download(
    shown: Shown, task: Task, kind: str, folder: Path, sharp: bool = False, visible: Visible = EVERYTHING
) -> Path:
    """Write one of DOWNLOADS at the photograph's full size into `folder`, without EXIF data. Returns its path."""
    if kind not in DOWNLOADS:
        raise UsageError(f"there is no download {kind!r}; choose one of: {', '.join(DOWNLOADS)}")
    stem = shown.source.stem
    folder.mkdir(parents=True, exist_ok=True)
    decided = decide(shown.seen(sharp), task).visible(visible.hidden, visible.at_least)
    if kind == "json":
        path = folder / f"{stem}.json"
        path.write_text(json.dumps(decided.record(shown.source.name), indent=1), encoding="utf-8")
        return path
    return save_picture(decided, kind, _picture(kind, decided, shown, visible), folder / stem)


def save_picture(decided: Decided, kind: str, picture: Image.Image, target: Path) -> Path:
    """Write one of the pictures to TARGET_kind, with the suffix of its format. Returns its path."""
    if kind in LIKE_PHOTOGRAPHS and max(picture.size) <= MAX_JPEG_SIDE:
        path = target.with_name(f"{target.name}_{kind}.jpg")
        decided.save_photograph(picture, path)
    else:
        path = target.with_name(f"{target.name}_{kind}.png")
        decided.save(picture, path)
    return path


def _picture(kind: str, decided: Decided, shown: Shown, visible: Visible) -> Image.Image:
    if kind == "labels":
        return decided.labels_image()
    if kind == "mask":
        return decided.mask_image()
    photograph = _read_again(shown)
    if kind == "overlay":
        return _overlay(decided, photograph, visible)
    draw = {"cutout": decided.soft_cutout, "blurred": decided.on_blurred, "plain": decided.on_plain}[kind]
    return draw(photograph)


def _overlay(decided: Decided, photograph: np.ndarray, visible: Visible) -> Image.Image:
    language, task = visible.named_in, decided.task
    picture = decided.overlay(photograph, visible.opacity, outline=language is not None)
    if language is not None:
        english = dict(enumerate(task.friendly_names[BACKGROUND + 1 :], BACKGROUND + 1))
        translated = {number: translate(name, language) for number, name in english.items()}
        shown = {number: name if names.can_draw(name) else english[number] for number, name in translated.items()}
        names.draw_names(picture, decided.prediction, shown, task.palette)
    return picture


def segment_for_program(
    pool: ModelPool, source: Path, mode: str, class_name: str, threshold: float, model: str
) -> tuple[np.ndarray, dict]:
    """Answer `/segment`: the overlay, uint8 (H, W, 3), and the record."""
    photograph = pool.read(source)
    result = pool.segment(photograph, model, resize="squeeze")
    automatic = threshold in (None, AUTOMATIC_THRESHOLD, AUTOMATIC)
    decided = decide(result, task_of(mode, class_name, automatic, threshold, result.categories))
    return np.asarray(decided.overlay(photograph)), decided.record(source.name)
