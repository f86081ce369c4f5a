"""The tab for a visitor's own photograph: give one, see what the model finds, take it away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from demo.engine import Engine
from demo.samples import Sample
from demo.tabs import controls
from demo.viewer import picture_viewer

OUTPUTS = 5  # shown, viewer, table, made_by, notice
spoken = controls.spoken(OUTPUTS)


class PhotographTab:
    """Layout, wiring and callbacks; a visitor's own things live in `shown`, in that visitor's session."""

    def __init__(self, page: gr.Blocks, engine: Engine, samples: list[Sample]) -> None:
        self.engine = engine
        self.samples = samples
        self._lay_out()
        self._wire(page)

    def _lay_out(self) -> None:
        self.shown = gr.State(None, time_to_live=controls.SESSION_SECONDS)
        with gr.Row(elem_classes="workspace"):
            with gr.Column(min_width=0, elem_classes="picture-column"):
                self.notice = controls.html("photograph-notice")
                self.viewer = picture_viewer(
                    elem_id="photograph-viewer", placeholder="The first photograph is on its way: loading the model."
                )
            with gr.Column(min_width=0, elem_classes="control-column"):
                self.upload = controls.photograph_input(
                    sources=["upload", "clipboard", "webcam"],
                    label="Your photograph",
                    height=230,
                    elem_id="photograph-upload",
                )
                self.gallery = controls.gallery(
                    "Or try one of these", "photograph-samples", columns=3, samples=self.samples
                )
                with gr.Group():
                    self.task = controls.task_controls()
                with gr.Group():
                    self.model, self.resize = controls.model_controls(self.engine)
                with gr.Accordion("Take it away", open=False):
                    gr.Markdown("At the photograph's full size, without its date, place or other metadata.")
                    controls.download_buttons(
                        {
                            "labels": "Label map (PNG)",
                            "overlay": "Overlay (PNG)",
                            "cutout": "Cut-out (PNG)",
                            "json": "JSON with COCO RLE",
                        },
                        self.write_download,
                        [self.shown, *self.task],
                    )
            with gr.Column(min_width=0, elem_classes="details-column"):
                self.table = controls.html("photograph-table")
                self.made_by = controls.html("photograph-made-by")

    def _wire(self, page: gr.Blocks) -> None:
        inputs = [self.shown, self.model, self.resize, *self.task]
        out = {
            "outputs": [self.shown, self.viewer, self.table, self.made_by, self.notice],
            "api_visibility": "private",
        }
        network, pick = (each | {"show_progress_on": self.viewer} for each in (controls.NETWORK, controls.PICK))
        page.load(self.on_load, inputs, **out, **network)
        # Emptied at once, so that the next photograph can be dropped there, whatever became of this one.
        self.upload.change(self.on_upload, [self.upload, *inputs], **out, **network).then(
            lambda: None, None, self.upload, api_visibility="private", show_progress="hidden"
        )
        self.gallery.select(self.on_sample, inputs, **out, **pick)
        gr.on([self.model.change, self.resize.change], self.on_model, inputs, **out, **network)
        gr.on([each.change for each in self.task], self.on_look, [self.shown, *self.task], **out, **controls.QUICK)

    @spoken
    def on_load(self, shown: Any, model: str, resize: str, *task: Any) -> tuple | None:
        """The page opens with a sample and its result."""
        return self._open(self.samples[0].path, shown, model, resize, task)

    @spoken
    def on_upload(self, path: str | None, shown: Any, model: str, resize: str, *task: Any) -> tuple | None:
        """A photograph was given; None is the place for it, emptied."""
        return None if path is None else self._open(path, shown, model, resize, task)

    @spoken
    def on_sample(self, event: gr.SelectData, shown: Any, model: str, resize: str, *task: Any) -> tuple | None:
        """One of the samples was picked."""
        return self._open(self.samples[event.index].path, shown, model, resize, task)

    @spoken
    def on_model(self, shown: Any, model: str, resize: str, *task: Any) -> tuple | None:
        """Another model or resize: the only controls that run the network."""
        from demo import handlers

        if shown is None:
            return None
        return _look(handlers.segment_again(self.engine, shown, model, resize), task, photo_sent=True)

    @spoken
    def on_look(self, shown: Any, *task: Any) -> tuple | None:
        """Mode, class or threshold: the kept logits answer."""
        return None if shown is None else _look(shown, task, photo_sent=True)

    def _open(self, path: str | Path, shown: Any, model: str, resize: str, task: tuple) -> tuple:
        from demo import handlers

        opened = handlers.open_photograph(self.engine, shown, path, model, resize)
        return _look(opened, task, photo_sent=False)

    def write_download(self, kind: str, folder: Path, shown: Any, *task: Any) -> Path:
        """One file of what is shown, at full size."""
        from demo import handlers

        return handlers.write_download(controls.required(shown), handlers.task_of(*task), kind, folder)


def _look(shown: Any, task: tuple, *, photo_sent: bool) -> tuple:
    from demo import handlers

    view = handlers.view_photograph(shown, handlers.task_of(*task), photo_sent=photo_sent)
    return shown, view.viewer, view.table, view.made_by
