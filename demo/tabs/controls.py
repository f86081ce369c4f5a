"""The controls that the tabs share: what is asked of the model, which images, and where answers are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gradio as gr

from demo.answers.datasets import Datasets
from demo.answers.model_pool import ModelPool
from demo.answers.samples import Sample
from demo.server.gradio_internals import with_preprocess
from demo.tabs import events
from segcore.categories import Categories
from segcore.classes import ANY_OBJECT
from segcore.errors import SegcoreError
from segcore.inference.task import BINARY, MULTICLASS
from segcore.models import catalogue
from segcore.truth.dataset import Dataset

NO_IMAGE = "This image is no longer offered. Please choose another."
MODEL_CHOICES = [(entry.title, name) for name, entry in catalogue.CATALOGUE.items()]


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
    mode.change(lambda chosen: gr.update(visible=chosen == BINARY), mode, binary, **events.LIGHT)
    automatic.change(lambda is_on: gr.update(visible=not is_on), automatic, threshold, **events.LIGHT)
    return TaskControls(mode, class_name, automatic, threshold)


OWN_SCORES = " Off, the scores are the network's own."


def sharp_control(value: bool, info: str = "") -> gr.Checkbox:
    """Lay out whether borders follow the photograph; runs no network."""
    return gr.Checkbox(value, label="Sharp edges", info=f"Borders follow the photograph's own edges.{info}")


class ModelControls(NamedTuple):
    """Which model runs, and what the photograph is resized to."""

    model: gr.Dropdown
    resize: gr.Radio


def model_controls(pool: ModelPool) -> ModelControls:
    """Lay out what makes the network run again."""
    model = gr.Dropdown(
        [("Automatic", catalogue.AUTO), *MODEL_CHOICES],
        value=catalogue.AUTO,
        label="Model",
        info=f"Automatic is {catalogue.entry(pool.default).title}. Your choice is yours alone.",
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


def photograph_input(**kwargs: Any) -> gr.Image:
    """An image input that hands over the uploaded file: `gr.Image` would decode it first, and fail where that does."""
    component = gr.Image(type="filepath", image_mode=None, **kwargs)
    return with_preprocess(component, lambda payload: None if payload is None else payload.path)


def unchecked(component: gr.Slider | gr.Dropdown) -> gr.Slider | gr.Dropdown:
    """The same, whose value is checked by who uses it: Gradio would refuse one that was right when the visitor clicked,
    because the range or the choices have changed since.
    """
    kinds = (int, float) if isinstance(component, gr.Slider) else (str,)
    return with_preprocess(component, lambda value: value if isinstance(value, kinds) else None)


def dataset_choice(datasets: Datasets, **kwargs: Any) -> gr.Dropdown:
    """Lay out the choice of a set of images; `offered` says which there are now."""
    return unchecked(gr.Dropdown(datasets.choices, value=datasets.default, filterable=False, **kwargs))


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
    """A place for what `demo.markup` makes; takes no room while it is empty."""
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
