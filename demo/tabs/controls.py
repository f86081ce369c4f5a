"""The controls that several tabs use: task, model, choice of images, and places for answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import gradio as gr

from demo.answers.datasets import Datasets
from demo.answers.model_pool import ModelPool
from demo.answers.samples import Sample
from demo.server.gradio_internals import with_preprocess
from demo.settings import LOWEST_THRESHOLD
from demo.tabs import events
from segcore.categories import Categories
from segcore.classes import ANY_OBJECT
from segcore.errors import SegcoreError
from segcore.evaluation.protocols import PROTOCOLS
from segcore.inference.task import BINARY, MULTICLASS
from segcore.models import catalogue
from segcore.truth.dataset import Dataset

Control = TypeVar("Control", gr.Slider, gr.Dropdown)
AUTOMATIC_MODEL, NO_MODEL = ("Automatic", catalogue.AUTO), ("Nothing", "none")
NO_IMAGE = "This image is no longer offered. Please choose another."


class TaskControls(NamedTuple):
    """The mode, and for binary mode the class, whether the arg-max decides, and otherwise the threshold."""

    mode: gr.Radio
    class_name: gr.Dropdown
    automatic: gr.Checkbox
    threshold: gr.Slider

    def in_links(self, sharp: gr.Checkbox) -> dict[str, Any]:
        """Return these controls and the one for sharp edges by their names in a link to the page."""
        return dict(zip(("mode", "class", "automatic", "threshold", "edges"), (*self, sharp), strict=True))


def object_choices(categories: Categories) -> list[tuple[str, str]]:
    """Return the choices for a class as (label, name): any object, and all object classes."""
    each = zip(categories.friendly[1:], categories.names[1:], strict=True)
    return [("Any object", ANY_OBJECT), *((label[:1].upper() + label[1:], name) for label, name in each)]


def task_controls(categories: Categories) -> TaskControls:
    """Lay out the controls of the task. The mode shows the controls that it needs."""
    mode = gr.Radio(
        [("Multiclass", MULTICLASS), ("Binary", BINARY)],
        value=MULTICLASS,
        label="Mode",
        info="Multiclass finds every kind of object at once; binary looks for one kind against everything else.",
    )
    with gr.Group(visible=False) as binary:
        class_name = gr.Dropdown(object_choices(categories), value=ANY_OBJECT, label="Class", info="What to look for.")
        automatic = gr.Checkbox(
            True, label="Automatic threshold", info="A pixel counts if this class is the most likely one."
        )
        threshold = gr.Slider(
            LOWEST_THRESHOLD,
            0.95,
            value=0.5,
            step=0.01,
            label="Threshold",
            info="Lower: more finds, more mistakes. Higher: fewer, surer.",
            visible=False,
        )
    mode.change(lambda chosen: gr.update(visible=chosen == BINARY), mode, binary, **events.LIGHT)
    automatic.change(lambda is_on: gr.update(visible=not is_on), automatic, threshold, **events.LIGHT)
    return TaskControls(mode, class_name, automatic, threshold)


OWN_SCORES = " Without it, the scores are those of the network alone."


def sharp_control(value: bool, info: str = "") -> gr.Checkbox:
    """Lay out the choice of sharp edges. It does not run the network."""
    return gr.Checkbox(value, label="Sharp edges", info=f"Borders follow the photograph's own edges.{info}")


class ModelControls(NamedTuple):
    """The model, and the resize of the photograph."""

    model: gr.Dropdown
    resize: gr.Radio


def model_controls(pool: ModelPool) -> ModelControls:
    """Lay out the model and the resize, which make the network run again."""
    model = gr.Dropdown(
        [AUTOMATIC_MODEL, *pool.choices],
        value=catalogue.AUTO,
        label="Model",
        info=f"Automatic is {catalogue.entry(pool.default).title}. Your choice does not affect other visitors.",
        filterable=False,
    )
    resize = gr.Radio(
        [("Squeeze to 520 × 520", "squeeze"), ("Keep the shape", "aspect")],
        value="squeeze",
        label="Resize",
        info="The network's input. Keeping the shape is slower and often more accurate.",
    )
    return ModelControls(model, resize)


def more_options() -> gr.Accordion:
    """Lay out the folded place for controls that most visitors never touch."""
    return gr.Accordion("More options", open=False)


def unfolding(folded: gr.Accordion, controls: Sequence[Any]) -> Callable[[Sequence[Any]], dict]:
    """Return a function from the controls' values to an update of the accordion.

    The update opens the accordion if a control in it gets another value than its default.
    """
    # Looked up now: Gradio sets a component's parent to None when an event of the component runs.
    defaults = {at: each.value for at, each in enumerate(controls) if _is_inside(each, folded)}

    def unfold(values: Sequence[Any]) -> dict:
        is_hidden = any(values[at] != default for at, default in defaults.items())
        return gr.update(open=True) if is_hidden else gr.skip()

    return unfold


def _is_inside(block: Any, outer: gr.Accordion) -> bool:
    while block is not None and block is not outer:
        block = block.parent
    return block is outer


def protocol_control() -> gr.Radio:
    """Lay out the choice of the protocol."""
    return gr.Radio(
        [(each.title, name) for name, each in PROTOCOLS.items()],
        value="original",
        label="Protocol",
        info="How the scores are computed. The last two have their own resize.",
    )


def photograph_input(**kwargs: Any) -> gr.Image:
    """Make an image input that returns the uploaded file's path. `gr.Image` would decode the file first."""
    component = gr.Image(type="filepath", image_mode=None, **kwargs)
    return with_preprocess(component, lambda payload: None if payload is None else payload.path)


def unchecked(component: Control) -> Control:
    """Return the component without Gradio's check of its value; the caller must check it.

    Gradio would refuse a value that was valid when the visitor clicked, if the range or the choices changed since.
    """
    kinds = (int, float) if isinstance(component, gr.Slider) else (str,)
    return with_preprocess(component, lambda value: value if isinstance(value, kinds) else None)


def dataset_choice(datasets: Datasets, **kwargs: Any) -> gr.Dropdown:
    """Lay out the choice of a set of images. `offered` updates it."""
    return unchecked(gr.Dropdown(datasets.choices, value=datasets.default, filterable=False, **kwargs))


def settings_of(wanted: Any) -> list:
    """Return the controls' values for `wanted`: set, model, protocol, resize, the task's four values, and edges."""
    task = wanted.task
    threshold = 0.5 if task.threshold is None else task.threshold
    how = task.mode, task.class_name, task.threshold is None, threshold
    return [wanted.dataset, wanted.model, wanted.protocol, wanted.resize, *how, wanted.sharp]


def offered(datasets: Datasets, chosen: str) -> dict:
    """Return an update with the available sets of images. It changes the choice only if `chosen` is not available."""
    choices = datasets.choices
    known = chosen in {key for _, key in choices}
    return gr.update(choices=choices) if known else gr.update(choices=choices, value=datasets.default)


def dataset_of(datasets: Datasets, key: str) -> Dataset:
    """Return the dataset of a key. Raises gr.Error, which the page shows, if it cannot be opened."""
    try:
        return datasets.get(key)
    except SegcoreError as error:
        raise gr.Error(str(error), print_exception=False) from error


def html(elem_id: str, value: str | None = None) -> gr.HTML:
    """Make a place for HTML of `demo.markup`. It takes no space while it is empty."""
    return gr.HTML(value, elem_id=elem_id, elem_classes="made-here", apply_default_css=False)


def gallery(label: str, elem_id: str, *, columns: int, samples: Sequence[Sample] = ()) -> gr.Gallery:
    """Make a gallery of thumbnails to pick from."""
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


def deselect(galleries: Sequence[gr.Gallery], trigger: Any, file: gr.Image | None = None) -> None:
    """When `trigger` fires, select no image of the galleries; with `file` only if that input has one.

    This runs in the browser, because Gradio's server cannot send that nothing is selected. Here -1 means that.
    It does not wait for an answer, after which the visitor may have selected another image.
    """
    changed = "{ __type__: 'update', selected_index: -1 }"
    update = changed if file is None else f"file ? {changed} : {{ __type__: 'update' }}"
    script = f"(file) => [{', '.join([update] * len(galleries))}]"
    trigger(None, file, list(galleries), js=script, api_visibility="private")


def select_opened(event: Any, gallery: gr.Gallery, offered: gr.JSON) -> None:
    """After an event that changes the gallery's images to `offered`, select the image that was opened last.

    Only the browser knows it: the visitor may have opened another image since the event began.
    """
    script = "(offered) => [{ __type__: 'update', selected_index: segcoreOffered(offered) }]"
    event.then(None, offered, gallery, js=script, api_visibility="private")


def pictures(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """Return a gallery's value: thumbnails and captions."""
    return [(str(each.thumbnail), each.caption) for each in samples]
