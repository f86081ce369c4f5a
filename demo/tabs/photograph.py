"""The tab for a visitor's own photograph: see what the model finds, set it against a truth, take it away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from demo import tables
from demo.about import kept_for
from demo.engine import Engine
from demo.samples import Sample
from demo.tabs import controls
from demo.viewer import picture_viewer
from segcore.errors import LabelError

OUTPUTS = 13  # those of PhotographTab.outputs
TRUTH_FILES = ["image", ".json"]  # a JPEG too, to be told why it cannot be one
TRUTH_HELP = (
    "Give a **PNG mask** of the photograph's size, in VOC's class numbers or colours (for binary mode also black and "
    "white), or **COCO annotations** as JSON: you see every wrong pixel, and the scores."
)
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
                self.verdict = controls.html("photograph-verdict")
                self.viewer = picture_viewer(
                    elem_id="photograph-viewer", placeholder="The first photograph is on its way: loading the model."
                )
                self.warning = controls.html("photograph-warning")
            with gr.Column(min_width=0, elem_classes="control-column"):
                self.upload = controls.photograph_input(
                    sources=["upload", "clipboard", "webcam"],
                    label="Your photograph",
                    height=230,
                    elem_id="photograph-upload",
                )
                limits = self.engine.limits
                controls.html("photograph-kept", tables.kept(limits.max_bytes / 2**20, kept_for(limits)))
                self.gallery = controls.gallery(
                    "Or try one of these", "photograph-samples", columns=3, samples=self.samples
                )
                with gr.Group():
                    self.task = controls.task_controls(self.engine.categories)
                with gr.Accordion("Do you know the truth?", open=False):
                    gr.Markdown(TRUTH_HELP)
                    self.truth_notice = controls.html("photograph-truth-notice")
                    self.truth_file = gr.File(
                        label="Mask or annotations", file_types=TRUTH_FILES, height=150, elem_id="photograph-truth-file"
                    )
                    with gr.Column(visible=False) as self.given:
                        self.read_as = controls.html("photograph-read-as")
                        self.remove = gr.Button("Remove the truth", size="sm")
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
                    with gr.Column(visible=False) as self.score_downloads:
                        controls.download_buttons(
                            {"figure": "Figure (PNG)", ".csv": "Scores (CSV)", ".json": "Scores (JSON)"},
                            self.write_scores,
                            [self.shown, *self.task],
                        )
            with gr.Column(min_width=0, elem_classes="details-column"):
                self.table = controls.html("photograph-table")
                self.overall = controls.html("photograph-overall")
                self.per_class = controls.html("photograph-per-class")
                self.made_by = controls.html("photograph-made-by")

    @property
    def outputs(self) -> list[Any]:
        """What every callback gives, in this order."""
        return [
            *(self.shown, self.viewer, self.verdict, self.warning, self.table, self.overall, self.per_class),
            *(self.made_by, self.read_as, self.given, self.score_downloads, self.truth_notice, self.notice),
        ]

    def _wire(self, page: gr.Blocks) -> None:
        inputs = [self.shown, self.model, self.resize, *self.task]
        look = [self.shown, *self.task]
        out = {"outputs": self.outputs, "api_visibility": "private"}
        network, pick = (each | {"show_progress_on": self.viewer} for each in (controls.NETWORK, controls.PICK))
        page.load(self.on_load, inputs, **out, **network)
        # Emptied at once, so that the next file can be dropped there, whatever became of this one.
        emptied = {"fn": lambda: None, "inputs": None, "api_visibility": "private", "show_progress": "hidden"}
        self.upload.change(self.on_upload, [self.upload, *inputs], **out, **network).then(
            outputs=self.upload, **emptied
        )
        # What is wrong with a truth is said where it was given: on a phone the picture is far away.
        *others, truth_notice, notice = self.outputs
        self.truth_file.upload(
            self.on_truth, [self.truth_file, *look], **out | {"outputs": [*others, notice, truth_notice]}, **network
        ).then(outputs=self.truth_file, **emptied)
        self.remove.click(self.on_remove, look, **out, **controls.QUICK)
        self.gallery.select(self.on_sample, inputs, **out, **pick)
        gr.on([self.model.change, self.resize.change], self.on_model, inputs, **out, **network)
        gr.on([each.change for each in self.task], self.on_look, look, **out, **controls.QUICK)

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

    @spoken
    def on_truth(self, path: str | None, shown: Any, *task: Any) -> tuple | None:
        """A truth was given; None is the place for it, emptied."""
        from demo import handlers

        if path is None:
            return None
        return _look(handlers.with_truth(controls.required(shown), path), task, photo_sent=True)

    @spoken
    def on_remove(self, shown: Any, *task: Any) -> tuple | None:
        """The photograph alone again."""
        return None if shown is None else _look(replace(shown, truth=None), task, photo_sent=True)

    def _open(self, path: str | Path, shown: Any, model: str, resize: str, task: tuple) -> tuple:
        from demo import handlers

        opened = handlers.open_photograph(self.engine, shown, path, model, resize)
        return _look(opened, task, photo_sent=False)

    def write_download(self, kind: str, folder: Path, shown: Any, *task: Any) -> Path:
        """One file of what is shown, at full size."""
        from demo import handlers

        asked = handlers.task_of(*task, controls.required(shown).result.categories)
        return handlers.write_download(shown, asked, kind, folder)

    def write_scores(self, kind: str, folder: Path, shown: Any, *task: Any) -> Path:
        """The report's figure, or the scores against the visitor's truth as a file."""
        from demo import comparison, handlers

        asked = handlers.task_of(*task, controls.required(shown).result.categories)
        view = comparison.view_own_truth(shown, asked)
        if kind == "figure":
            return comparison.figure(shown.screen, view, asked, folder)
        return comparison.scores_file(view, folder, kind)


def _look(shown: Any, task: tuple, *, photo_sent: bool) -> tuple:
    """All outputs but the last notice: the photograph alone, or beside the visitor's truth where that fits the task."""
    from demo import comparison, handlers

    asked = handlers.task_of(*task, shown.result.categories)
    alone = handlers.view_photograph(shown, asked, photo_sent=photo_sent)
    hidden, visible = gr.update(visible=False), gr.update(visible=True)
    if shown.truth is None:
        return shown, alone.viewer, "", "", alone.table, "", "", alone.made_by, "", hidden, hidden, ""
    given = tables.own_truth(shown.truth.file_name, shown.truth.read_as(asked)), visible
    try:
        view = comparison.view_own_truth(shown, asked, photo_sent=photo_sent)
    except LabelError as error:
        why = tables.notice(str(error), kind="error")
        return shown, alone.viewer, why, "", alone.table, "", "", alone.made_by, *given, hidden, ""
    said = tables.verdict(view.verdict), tables.notice(view.warning)
    scores = alone.table, view.overall, view.per_class
    return shown, view.viewer, *said, *scores, view.made_by, *given, visible, ""
