"""What the tabs share: the controls for what is asked of the model, downloads on demand, and errors as sentences."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.context import LocalContext

from demo.answers.datasets import Datasets
from demo.answers.model_pool import Engine
from demo.answers.samples import Sample
from demo.markup import tables
from demo.server import sessions
from demo.waiting.turns import Turns
from demo.waiting.visits import GoneError, Visit
from segcore.categories import Categories
from segcore.classes import ANY_OBJECT
from segcore.errors import Cancelled, SegcoreError, UsageError
from segcore.inference.task import BINARY, MULTICLASS
from segcore.models import catalogue
from segcore.truth.dataset import Dataset

NO_ROOM = "The machine that runs this page cannot write the file, perhaps because its disk is full. Try again later."
NO_IMAGE = "This image is no longer offered. Please choose another."
# What may run the network waits in the engine's own line, so Gradio lets all of it in at once; of impatient clicks the
# last one counts (demo.visits). It changes what is kept for the visitor, and then they look at that again.
NETWORK = {
    "concurrency_id": "network",
    "concurrency_limit": None,
    "trigger_mode": "multiple",
    "show_progress": "minimal",
}
# A look draws what is kept as the controls say now, and waits for nobody else. All looks of a tab are one event, of
# which one is under way and the last follows it: what is shown in the end is what was kept and said last. Its last
# input is filled in the browser: the keys of the photographs that it has, so that none is sent again.
LOOK = {
    "js": "(...inputs) => [...inputs.slice(0, -1), [...(window.segcorePhotos ?? new Map()).keys()].join(' ')]",
    "concurrency_id": "look",
    "concurrency_limit": None,
    "trigger_mode": "always_last",
    "show_progress": "hidden",
    "api_visibility": "private",
}
# Files at full size take much memory, so few are written at a time, of all visitors and kinds together.
WRITE = {"api_visibility": "private", "concurrency_id": "write", "concurrency_limit": 2}
MODEL_CHOICES = [(entry.title, name) for name, entry in catalogue.CATALOGUE.items()]
LIGHT = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


class TaskControls(NamedTuple):
    """Mode, and for binary mode the class, whether the arg-max decides, and else the threshold."""

    mode: gr.Radio
    class_name: gr.Dropdown
    automatic: gr.Checkbox
    threshold: gr.Slider


def object_choices(categories: Categories) -> list[tuple[str, str]]:
    """What can be looked for, as labels and names: any object, and each of the classes."""
    each = zip(categories.friendly[1:], categories.names[1:], strict=True)
    return [("Any object", ANY_OBJECT), *((label[:1].upper() + label[1:], name) for label, name in each)]


def task_controls(categories: Categories) -> TaskControls:
    """Lay the task's controls out and let the mode show those that it needs."""
    mode = gr.Radio(
        [("Multiclass", MULTICLASS), ("Binary", BINARY)],
        value=MULTICLASS,
        label="Mode",
        info="Multiclass finds every kind of object at once; binary looks for one kind against everything else.",
    )
    with gr.Group(visible=False) as binary:
        class_name = gr.Dropdown(object_choices(categories), value=ANY_OBJECT, label="Class", info="What to look for.")
        automatic = gr.Checkbox(
            True, label="Automatic threshold", info="A pixel counts where this class is the likeliest of all."
        )
        threshold = gr.Slider(
            0.05,
            0.95,
            value=0.5,
            step=0.01,
            label="Threshold",
            info="Lower finds more, higher is surer.",
            visible=False,
        )
    mode.change(lambda chosen: gr.update(visible=chosen == BINARY), mode, binary, **LIGHT)
    automatic.change(lambda is_on: gr.update(visible=not is_on), automatic, threshold, **LIGHT)
    return TaskControls(mode, class_name, automatic, threshold)


OWN_SCORES = " Off, the scores are the network's own."


def sharp_control(value: bool, info: str = "") -> gr.Checkbox:
    """Lay out whether borders follow the photograph; runs no network."""
    return gr.Checkbox(value, label="Sharp edges", info=f"Borders follow the photograph's own edges.{info}")


class ModelControls(NamedTuple):
    """Which model runs, and what the photograph is resized to."""

    model: gr.Dropdown
    resize: gr.Radio


def model_controls(engine: Engine) -> ModelControls:
    """Lay out what makes the network run again."""
    model = gr.Dropdown(
        [("Automatic", catalogue.AUTO), *MODEL_CHOICES],
        value=catalogue.AUTO,
        label="Model",
        info=f"Automatic is {catalogue.entry(engine.default).title}. Your choice is yours alone.",
        filterable=False,
    )
    resize = gr.Radio(
        [("Squeeze to 520 × 520", "squeeze"), ("Keep the shape", "aspect")],
        value="squeeze",
        label="Resize",
        info="What the network sees. Keeping the shape is slower and often finer.",
    )
    return ModelControls(model, resize)


def protocol_control() -> gr.Radio:
    """Lay out how scores are taken."""
    return gr.Radio(
        [("Original size", "original"), ("torchvision's", "torchvision"), ("The report's", "report")],
        value="original",
        label="Protocol",
        info="How the scores are taken. The last two choose their own resize.",
    )


def spoken(outputs: int) -> Callable[[Callable], Callable]:
    """Turn segcore's errors into a notice, the last of `outputs`, and leave all other outputs as they were.

    A callback that returns None changes nothing at all.
    """

    def decorate(callback: Callable) -> Callable:
        @functools.wraps(callback)
        def wrapper(*args: Any) -> tuple:
            try:
                result = callback(*args)
            except SegcoreError as error:
                return (*[gr.skip()] * (outputs - 1), tables.notice(str(error), kind="error"))
            return (gr.skip(),) * outputs if result is None else (*result, "")

        return wrapper

    return decorate


def visitor_of(request: gr.Request) -> Hashable:
    """Who shares the network with others as one: a session, or of programs that have none all of one address."""
    return request.session_hash if has_session(request) else request.client.host


def has_session(request: gr.Request) -> bool:
    """Whether more may come from the same page or program; Gradio gives each call of others a session of its own."""
    return request.session_hash is not None and request.session_hash != LocalContext.event_id.get(None)


def has_left() -> Callable[[], bool]:
    """Whether whoever asked for what is being answered now has closed the page, or hung up, since."""
    blocks, event_id = LocalContext.blocks.get(), LocalContext.event_id.get(None)
    event = blocks._queue.event_ids_to_events.get(event_id)
    return lambda: event is not None and not event.alive


FAILED = "This did not work. Please try again."


class Asking:
    """A tab's places for what a visitor asked for: `visit` keeps it, `arrived` changes when it is there."""

    def __init__(self, turns: Turns, name: str) -> None:
        self.turns = turns
        self.visit = gr.State(Visit())
        self.arrived = gr.State(0)
        self.known = gr.Textbox(visible=False)
        self.waiting = html(f"{name}-waiting")
        self.notice = html(f"{name}-notice")

    @property
    def outputs(self) -> list[Any]:
        """What `ask` gives, in this order."""
        return [self.visit, self.arrived, self.waiting, self.notice]

    async def ask(
        self, visit: Visit, request: gr.Request, wanted: Any, work: Callable[[], Any], *, kind: Hashable
    ) -> AsyncIterator[tuple]:
        """Have it done in this visitor's turn, saying meanwhile how long it takes; errors are told as sentences."""
        same = gr.skip()
        places = visit.ask(self.turns, visitor_of(request), wanted, work, kind=kind, has_left=has_left())
        try:
            async with contextlib.aclosing(places):
                async for place in places:
                    yield same, same, tables.waiting(place.ahead, place.seconds), ""
        except Cancelled:  # what came instead says how it is
            yield self.same
        except GoneError as error:
            raise sessions.lost() from error
        except SegcoreError as error:
            yield same, same, "", tables.notice(str(error), kind="error")
        else:
            yield self.there(visit)

    def fails_in_words(self, *events: Any) -> None:
        """Where one of these ends as nobody expects, nothing is waited for any more."""
        for event in events:
            ends_on_failure(event, [(self.waiting, "")], self.notice, FAILED)

    @property
    def same(self) -> tuple:
        """Nothing is new; a generator that gives nothing at all would empty the places."""
        return (gr.skip(),) * len(self.outputs)

    def there(self, visit: Visit) -> tuple:
        """What is kept has changed: look at it."""
        return visit, visit.newest, "", ""


def photograph_input(**kwargs: Any) -> gr.Image:
    """An image input that hands over the uploaded file: `gr.Image` would decode it first, and fail where that does.

    No subclass, since Gradio writes a .pyi file beside the source of each.
    """
    component = gr.Image(type="filepath", image_mode=None, **kwargs)
    component.preprocess = lambda payload: None if payload is None else payload.path
    return component


def unchecked(component: gr.Slider | gr.Dropdown) -> gr.Slider | gr.Dropdown:
    """The same, whose value is checked by who uses it: Gradio would refuse one that was right when the visitor clicked,
    because the range or the choices have changed since.
    """
    kinds = (int, float) if isinstance(component, gr.Slider) else (str,)
    component.preprocess = lambda value: value if isinstance(value, kinds) else None
    return component


def dataset_choice(datasets: Datasets, **kwargs: Any) -> gr.Dropdown:
    """Lay out the choice of a set of images; `offered` says which there are now."""
    return unchecked(gr.Dropdown(datasets.choices, value=datasets.default, filterable=False, **kwargs))


def ends_on_failure(event: Any, idle: Sequence[tuple[Any, Any]], notice: gr.HTML, sentence: str) -> None:
    """Where `event` fails as no callback of ours expects, set components to what they are when nothing is under way,
    and say a sentence. In the browser alone, since what has failed may be the way to the server.
    """
    values = [*(value for _, value in idle), tables.notice(sentence, kind="error")]
    outputs = [*(component for component, _ in idle), notice]
    event.failure(None, None, outputs, js=f"() => {json.dumps(values)}", api_visibility="private")


def settings_of(wanted: Any) -> list:
    """The controls' values that ask for what `wanted` did: set, model, protocol, resize, the task's four and edges."""
    task = wanted.task
    threshold = 0.5 if task.threshold is None else task.threshold
    how = task.mode, task.class_name, task.threshold is None, threshold
    return [wanted.dataset, wanted.model, wanted.protocol, wanted.resize, *how, wanted.sharp]


def offered(datasets: Datasets, chosen: str) -> dict:
    """An update that offers the sets of images that there are now, and chooses another only where `chosen` is gone."""
    choices = datasets.choices
    known = chosen in {key for _, key in choices}
    return gr.update(choices=choices) if known else gr.update(choices=choices, value=datasets.default)


def dataset_of(datasets: Datasets, key: str) -> Dataset:
    """The dataset of a key, or a message on the page that says why it cannot be had."""
    try:
        return datasets.get(key)
    except SegcoreError as error:
        raise gr.Error(str(error), print_exception=False) from error


def html(elem_id: str, value: str | None = None) -> gr.HTML:
    """A place for what `demo.tables` makes; takes no room while it is empty."""
    return gr.HTML(value, elem_id=elem_id, elem_classes="made-here", apply_default_css=False)


def gallery(label: str, elem_id: str, *, columns: int, samples: Sequence[Sample] = ()) -> gr.Gallery:
    """Small pictures to pick one from."""
    return gr.Gallery(
        pictures(samples),
        label=label,
        columns=columns,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id=elem_id,
        elem_classes="picker",
    )


def pictures(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """What a gallery shows: thumbnails and captions."""
    return [(str(each.thumbnail), each.caption) for each in samples]


def required(shown: Any) -> Any:
    """What is shown, or a sentence for who asks too early."""
    if shown is None:
        raise UsageError("There is no picture yet: choose one first.")
    return shown


def download_buttons(labels: dict[str, str], write: Callable[..., Path], inputs: Sequence[Any]) -> None:
    """A row of buttons, labels by kind; each writes its file when it is clicked, and the browser then takes it.

    write(kind, folder, *inputs) -> path. The files are in Gradio's upload folder, which is emptied in time.
    """
    with gr.Row():
        buttons = [(kind, gr.Button(label, size="sm", min_width=130)) for kind, label in labels.items()]
    target = gr.DownloadButton(visible="hidden")
    for kind, button in buttons:
        written = functools.partial(_write, write, kind)
        event = button.click(written, list(inputs), target, **WRITE)
        event.success(None, target, None, js=_TAKE, api_visibility="private")


# Of the value itself: the hidden button's own link may still be that of the file before.
_TAKE = """file => {
    const link = Object.assign(document.createElement("a"), { href: file.url, download: file.orig_name });
    document.body.append(link);
    link.click();
    link.remove();
}"""


def _write(write: Callable[..., Path], kind: str, *inputs: Any) -> str:
    folder = Path(gr.utils.get_upload_folder(), "downloads", uuid.uuid4().hex)
    try:
        return str(write(kind, folder, *inputs))
    except GoneError as error:
        raise sessions.lost() from error
    except SegcoreError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except OSError as error:
        print(f"segcore: a visitor's file could not be written: {error}", file=sys.stderr)
        raise gr.Error(NO_ROOM, print_exception=False) from error
