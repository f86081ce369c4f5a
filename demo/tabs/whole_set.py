"""The tab for a whole set of images: score many, see where the model fails, and open the images that show it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from demo.answers.datasets import MAX_FETCHED, Datasets
from demo.answers.model_pool import ModelPool
from demo.answers.samples import Thumbnails
from demo.markup import set_tables, tables
from demo.server.gradio_internals import has_left
from demo.tabs import controls, downloads, events
from demo.tabs.set_pictures import NO_SCORES, SetPictures
from demo.waiting.turns import Place, Turns
from segcore.categories import VOC
from segcore.classes import ANY_OBJECT
from segcore.errors import SegcoreError, UsageError

AT_FIRST = 50  # initial number of images
# Evaluations wait in their own queue, so Gradio starts all of them at once.
EVALUATION = {"concurrency_id": "evaluation", "concurrency_limit": None, "show_progress": "hidden"}

MAPS_HELP = (
    "A ZIP with one PNG for each photograph: `NAME.png` for `NAME.jpg`, of the photograph's size, with VOC's numbers 0 "
    "to 20 or VOC's colours, or black and white in binary mode. It is scored instead of the model. Remove it to score "
    "the model again."
)
FAILED = "The scoring has failed. The scores so far are kept: press the button again to continue."

# On a phone the scores appear above the button that asks for them.
_SHOW_SCORES = """() => {
    const scores = document.querySelector("#set-notice, #set-summary").parentElement;
    if (scores.getBoundingClientRect().bottom < innerHeight / 2) scores.scrollIntoView({ behavior: "smooth" });
}"""


class WholeSetTab:
    """Layout, wiring and callbacks. A visitor's outcome is in `shown`, in the visitor's session."""

    def __init__(
        self,
        page: gr.Blocks,
        tab: gr.Tab,
        pool: ModelPool,
        datasets: Datasets,
        thumbnails: Thumbnails,
        counts: Path,
        show_image: Callable[[gr.JSON, list[Any]], None],
    ) -> None:
        """counts: the folder for the counts of all visitors' evaluations.

        show_image(sent, picks): wires the events `picks`, so that each opens the image that was put into `sent`.
        """
        self.pool = pool
        self.datasets = datasets
        self.thumbnails = thumbnails
        self._counts = counts
        # One evaluation runs at a time. Its batches take turns with other requests, which are answered meanwhile.
        self._line = Turns(1, pool.turns.longest)
        self._lay_out()
        self._wire(page, tab)
        self.pictures.wire(self.shown, show_image)

    def _lay_out(self) -> None:
        self.shown = gr.State(None)
        self.stopping = gr.State(None)  # the threading.Event that stops the last evaluation
        with gr.Row(elem_classes="workspace"):
            with gr.Column(min_width=0, elem_classes="picture-column"):
                self.notice = controls.html("set-notice")
                self.summary = controls.html("set-summary", set_tables.welcome())
                self.pictures = SetPictures(self.datasets, self.thumbnails)
            with gr.Column(min_width=0, elem_classes="control-column"):
                self._lay_out_images()
                self.progress = controls.html("set-progress")
                with gr.Group():
                    self.task = controls.task_controls(self.pool.categories)
                    self.other_model = gr.Dropdown(
                        [controls.NO_MODEL, *self.pool.choices],
                        value=controls.NO_MODEL[1],
                        label="Compare with",
                        info="A second model on the same images.",
                        filterable=False,
                    )
                with controls.more_options():
                    self.sharp = controls.sharp_control(False, controls.OWN_SCORES)
                    self.protocol = controls.protocol_control()
                    self.model, self.resize = controls.model_controls(self.pool)
                with gr.Accordion("Score label maps of another program", open=False):
                    gr.Markdown(MAPS_HELP)
                    self.archive = gr.File(
                        label="Label maps (ZIP)", file_types=[".zip"], height=120, elem_id="set-label-maps"
                    )
                with gr.Accordion("Download", open=False):
                    downloads.download_buttons(
                        {".html": "Report (HTML)", ".csv": "Scores (CSV)", ".json": "Scores (JSON)"},
                        self.write_download,
                        [self.shown],
                    )
                self._lay_out_fetching()
            with gr.Column(min_width=0, elem_classes="details-column"):
                self.charts = controls.html("set-charts")
                self.provenance = controls.html("set-provenance")

    def _lay_out_images(self) -> None:
        with gr.Group():
            self.dataset = controls.dataset_choice(
                self.datasets, label="Images", info="A set whose truth is known.", elem_id="set-dataset"
            )
            most = len(self.datasets.get(self.datasets.default).images)
            self.images = controls.unchecked(
                gr.Slider(
                    1,
                    max(2, most),
                    value=min(AT_FIRST, most),
                    step=1,
                    label="How many",
                    info="The first images of the set. With more images, the scores are more certain.",
                )
            )
        with gr.Row():
            self.start = gr.Button("Score the images", variant="primary", scale=2, min_width=120, elem_id="set-start")
            self.stop = gr.Button("Stop", visible=False, variant="stop", scale=1, min_width=80, elem_id="set-stop")

    def _lay_out_fetching(self) -> None:
        with gr.Accordion("Get more images from COCO", open=False):
            offline = self.datasets.offline
            gr.Markdown(
                "This page is set to stay offline, so it cannot fetch any."
                if offline
                else "Photographs with their truth, from COCO val2017. The first time, 253 MB of annotations come too. "
                "The page works meanwhile."
            )
            self.count = gr.Slider(
                10, MAX_FETCHED, value=100, step=10, label="How many photographs", interactive=not offline
            )
            self.kind = gr.Dropdown(
                controls.object_choices(VOC), value=ANY_OBJECT, label="With", interactive=not offline
            )
            with gr.Row():
                self.get = gr.Button("Get them", size="sm", min_width=80, interactive=not offline)
                self.stop_getting = gr.Button("Stop", size="sm", visible=False, min_width=80)
            self.getting = controls.html("set-fetching")
        self.clock = gr.Timer(1, active=False)

    def _wire(self, page: gr.Blocks, tab: gr.Tab) -> None:
        asked = [
            *(self.dataset, self.images, *self.task, self.protocol, self.model, self.resize),
            *(self.other_model, self.sharp, self.archive),
        ]
        outputs = [
            *(self.shown, self.notice, self.progress, self.summary, self.charts, self.provenance),
            *(*self.pictures.outputs, self.start, self.stop),
        ]
        scored = self.start.click(
            self.on_asked,
            self.stopping,
            [self.stopping, self.start, self.stop, self.progress, self.notice],
            **events.LIGHT,
        ).success(self.on_start, [self.stopping, *asked], outputs, api_visibility="private", **EVALUATION)
        scored.success(None, None, None, js=_SHOW_SCORES, api_visibility="private")
        controls.deselect(self.pictures.galleries, scored.then)
        idle = [(self.start, gr.update(interactive=True)), (self.stop, gr.update(visible=False)), (self.progress, "")]
        events.ends_on_failure(scored, idle, self.notice, FAILED)
        self.stop.click(None, None, self.stop, js=events.updated(interactive=False), api_visibility="private")
        self.stop.click(self.on_stop, self.stopping, None, **events.LIGHT)
        self.dataset.change(self.on_dataset, [self.dataset, self.images], self.images, **events.LIGHT)
        for chosen in (self.model, self.other_model):
            chosen.input(self.on_model, chosen, self.notice, **events.LIGHT)
        tab.select(self.on_open, self.dataset, self.dataset, **events.LIGHT)
        fetching = [self.getting, self.get, self.stop_getting, self.clock, self.dataset]
        self.get.click(self.on_get, [self.count, self.kind], fetching, **events.LIGHT)
        self.stop_getting.click(self.on_stop_getting, None, None, **events.LIGHT)
        for event in (page.load, self.clock.tick):
            event(self.on_clock, None, fetching, **events.LIGHT)

    # ---- scoring

    def on_asked(self, stop: threading.Event | None) -> dict:
        """The click, answered at once: the scoring itself may have to wait for that of others.

        Of two quick clicks the second is not asked to score, and must not take the first one's stop away.
        """
        return {
            self.stopping: threading.Event() if stop is None or stop.is_set() else stop,
            self.start: gr.update(interactive=False),
            self.stop: gr.update(visible=True, interactive=True),
            self.progress: set_tables.waiting(),
            self.notice: "",
        }

    async def on_start(
        self,
        stop: threading.Event | None,
        dataset: str,
        images: float,
        mode: str,
        class_name: str,
        automatic: bool,
        threshold: float | None,
        protocol: str,
        model: str,
        resize: str,
        other_model: str,
        sharp: bool,
        archive: str | None,
        request: gr.Request,
    ) -> AsyncIterator[dict]:
        """Score the images and show the progress. The previous outcome stays until there is a new one."""
        from demo.answers import photographs, whole_set

        idle = {self.start: gr.update(interactive=True), self.stop: gr.update(visible=False)}
        try:
            chosen = await asyncio.to_thread(self.datasets.get, dataset)
            task = photographs.task_of(mode, class_name, automatic, threshold, chosen.categories)
            other = None if other_model == controls.NO_MODEL[1] else other_model
            # The slider's range may belong to the previous set.
            count = int(min(max(1, images or 1), len(chosen.images)))
            maps = None if archive is None else Path(archive)
            wanted = whole_set.Wanted(dataset, count, task, protocol, resize, model, other, sharp, maps)
            asked = self._line, self.pool, self.datasets, wanted, self._counts, stop or threading.Event()
            evaluation = whole_set.evaluate_in_turn(*asked, events.visitor_of(request), has_left())
            async with aclosing(evaluation):
                async for said in evaluation:
                    if isinstance(said, Place):
                        yield {self.progress: set_tables.in_line(said)}
                    elif isinstance(said, whole_set.Progress):
                        yield {self.progress: set_tables.progress(said)}
                    else:
                        scores = await asyncio.to_thread(self._shown, said)
                        yield idle | {self.shown: said, self.progress: ""} | scores
        except SegcoreError as error:
            yield idle | {self.progress: "", self.notice: tables.notice(str(error), kind="error")}
        except OSError as error:  # the counts could not be written
            print(f"segcore: an evaluation has failed: {error}", file=sys.stderr)
            yield idle | {self.progress: "", self.notice: tables.notice(downloads.NO_ROOM, kind="error")}

    def _shown(self, outcome: Any) -> dict:
        return self.pictures.updates(outcome) | {
            self.summary: set_tables.summary(outcome),
            self.charts: set_tables.charts(outcome),
            self.provenance: set_tables.provenance(outcome.record),
        }

    def on_stop(self, stop: threading.Event | None) -> None:
        """Stop the evaluation. The scores so far are shown."""
        if stop:
            stop.set()

    def write_download(self, kind: str, folder: Path, shown: Any) -> Path:
        """Write the report, the table or the record."""
        from demo.answers import whole_set

        if shown is None:
            raise UsageError(NO_SCORES)
        return whole_set.write_download(self.pool, self.datasets, shown, kind, folder)

    # ---- the choice of images

    def on_open(self, dataset: str) -> dict:
        """The tab was opened: also offer images that were downloaded meanwhile."""
        return controls.offered(self.datasets, dataset)

    def on_model(self, model: str) -> str:
        """A model was chosen. If it is not here, its download starts, and the notice says so at once."""
        try:
            if model != controls.NO_MODEL[1]:
                self.pool.require(self.pool.resolve(model))
        except SegcoreError as error:
            return tables.notice(str(error))
        return ""

    def on_dataset(self, dataset: str, images: float | None) -> dict:
        """Another set was chosen: keep the requested number of images, if the set has so many."""
        most = len(controls.dataset_of(self.datasets, dataset).images)
        if images and images <= most:  # not sent back, because the visitor may have changed it meanwhile
            return gr.update(maximum=max(2, most))
        return gr.update(maximum=max(2, most), value=min(images or AT_FIRST, most))

    def on_get(self, count: float | None, kind: str, request: gr.Request) -> dict:
        """Start a download of photographs in the background."""
        try:
            self.datasets.collect(int(min(max(1, count or 1), MAX_FETCHED)), kind, request.session_hash)
        except SegcoreError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return self.on_clock(request)

    def on_stop_getting(self, request: gr.Request) -> None:
        self.datasets.stop_collecting(request.session_hash)

    def on_clock(self, request: gr.Request) -> dict:
        """Show the download's progress, and offer the images when they are complete."""
        state = self.datasets.collecting
        running = state is not None and not state.finished
        return {
            self.getting: set_tables.collecting(state),
            self.get: gr.update(interactive=not running and not self.datasets.offline),
            self.stop_getting: gr.update(visible=state is not None and running and state.owner == request.session_hash),
            self.clock: gr.update(active=running),
            self.dataset: gr.update(choices=self.datasets.choices),
        }
