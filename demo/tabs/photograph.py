"""The tab for a visitor's photograph: prediction, comparison with an uploaded truth, and downloads."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.answers.model_pool import ModelPool
from demo.answers.samples import Thumbnails
from demo.markup import tables
from demo.markup.guide import kept_for
from demo.server import sessions
from demo.tabs import controls, downloads, events, links
from demo.tabs.looks import PhotographLook, own_truth, photograph_look
from demo.tabs.several import SeveralPhotographs
from demo.tabs.visitor_requests import VisitorRequests
from demo.view import pictures
from demo.view.component import picture_viewer
from demo.waiting.visits import Visit
from segcore.errors import UsageError

if TYPE_CHECKING:
    from demo.answers.photographs import Shown

TRUTH_FILES = ["image", ".json"]  # JPEG is allowed so that the page can explain why it cannot be a mask
TRUTH_HELP = (
    "Give a **PNG mask** of the photograph's size, in VOC's class numbers or colours (for binary mode also black and "
    "white), or **COCO annotations** as JSON: you see every wrong pixel, and the scores."
)
DOWNLOAD_HELP = (
    "You get **what you see**: without the classes that you hid, and with *Only*, one class. Everything has the "
    "photograph's full size, and none of its date, place or other metadata. The label map has PASCAL VOC's colours, "
    "which differ from those on the screen; scores count all classes."
)


class PhotographTab:
    """Layout, wiring and callbacks. A visitor's state is in `requests.visit`, in the visitor's session."""

    def __init__(self, page: gr.Blocks, pool: ModelPool, thumbnails: Thumbnails, go_on: gr.Button) -> None:
        """go_on: a button that connection.js clicks to continue after the connection was lost."""
        self.pool = pool
        self.thumbnails = thumbnails
        self._lay_out()
        self._wire(page, go_on)

    def _lay_out(self) -> None:
        with gr.Row(elem_classes="workspace"):
            with gr.Column(min_width=0, elem_classes="picture-column"):
                self.requests = VisitorRequests(self.pool.turns, "photograph")
                self.verdict = controls.html("photograph-verdict")
                self.viewer = picture_viewer(
                    elem_id="photograph-viewer", placeholder="The first photograph is on its way: loading the model."
                )
                self.link = links.LinkControls(links.PHOTOGRAPH)
                self.credit = controls.html("photograph-credit")
                self.warning = controls.html("photograph-warning")
            with gr.Column(min_width=0, elem_classes="control-column"):
                self.upload = controls.photograph_input(
                    sources=["upload", "clipboard", "webcam"],
                    label="Your photograph",
                    height=230,
                    elem_id="photograph-upload",
                )
                limits = self.pool.limits
                controls.html("photograph-kept", tables.kept(limits.max_bytes / 2**20, kept_for(limits)))
                self.gallery = controls.gallery(
                    "Or try one of these", "photograph-samples", columns=3, samples=self.thumbnails.samples
                )
                with gr.Group():
                    self.task = controls.task_controls(self.pool.categories)
                self.several = SeveralPhotographs(self.pool)
                self._lay_out_truth()
                with controls.more_options() as self.more:
                    self.sharp = controls.sharp_control(True)
                    self.model, self.resize = controls.model_controls(self.pool)
                    self.tta = gr.Checkbox(
                        label="Slower, more accurate",
                        info="Test-time augmentation: averages over three sizes, each also mirrored. Six times slower.",
                        elem_id="photograph-tta",
                    )
                self._lay_out_downloads()
            with gr.Column(min_width=0, elem_classes="details-column"):
                self.table = controls.html("photograph-table")
                self.overall = controls.html("photograph-overall")
                self.per_class = controls.html("photograph-per-class")
                self.provenance = controls.html("photograph-provenance")

    def _lay_out_truth(self) -> None:
        with gr.Accordion("Have the correct answer? Score this photo", open=False):
            gr.Markdown(TRUTH_HELP)
            self.truth_notice = controls.html("photograph-truth-notice")
            self.truth_file = gr.File(
                label="Mask or annotations", file_types=TRUTH_FILES, height=150, elem_id="photograph-truth-file"
            )
            with gr.Column(visible=False) as self.given:
                self.read_as = controls.html("photograph-read-as")
                self.remove = gr.Button("Remove the truth", size="sm")

    def _lay_out_downloads(self) -> None:
        with gr.Accordion("Download", open=False):
            gr.Markdown(DOWNLOAD_HELP)
            downloads.download_buttons(
                {
                    "overlay": "Overlay (JPEG)",
                    "cutout": "Cut-out, soft edges (PNG)",
                    "blurred": "Blurred background (JPEG)",
                    "plain": "White background (JPEG)",
                    "mask": "Black-and-white mask (PNG)",
                    "labels": "Label map (PNG)",
                    "json": "JSON with COCO RLE",
                },
                self.write_download,
                [self.requests.visit, *self.task, self.sharp],
                self.viewer,
            )
            with gr.Column(visible=False) as self.score_downloads:
                downloads.download_buttons(
                    {"figure": "Figure (PNG)", ".csv": "Scores (CSV)", ".json": "Scores (JSON)"},
                    self.write_scores,
                    [self.requests.visit, *self.task, self.sharp],
                    self.viewer,
                )

    @property
    def outputs(self) -> list[Any]:
        """The outputs of a LOOK event, in this order."""
        return [*(getattr(self, name) for name in PhotographLook._fields), self.requests.notice]

    def _wire(self, page: gr.Blocks, go_on: gr.Button) -> None:
        visit, arrived = self.requests.visit, self.requests.arrived
        inputs = [visit, self.model, self.resize, self.tta]
        private: dict[str, Any] = {"api_visibility": "private"}
        network = private | events.NETWORK | {"outputs": self.requests.outputs, "show_progress_on": self.viewer}
        looks = [arrived.change, *(each.change for each in (*self.task, self.sharp))]
        seen = [visit, *self.task, self.sharp, self.requests.known]
        looked = gr.on(looks, self.on_look, seen, self.outputs, **events.LOOK)
        in_links = self.task.in_links(self.sharp) | {"model": self.model, "resize": self.resize, "tta": self.tta}
        opening = self.link.follow(in_links, self.thumbnails.samples, looked)
        address = gr.Textbox(visible=False)
        loaded = page.load(self.on_load, [address, *inputs], js=opening, **network)
        linked = [*in_links.values(), self.more]
        unfold = controls.unfolding(self.more, [*in_links.values()])
        page.load(lambda it: self.on_link(it, in_links, unfold), address, linked, js=opening, **events.LIGHT)
        # Empty the input at once, so that the next file can be dropped there even if this one fails.
        emptied = private | {"fn": lambda: None, "inputs": None, "show_progress": "hidden", "queue": False}
        uploaded = self.upload.change(self.on_upload, [self.upload, *inputs], **network)
        uploaded.then(outputs=self.upload, **emptied)
        outputs = [arrived, self.sharp, self.truth_notice]
        truth = private | {"outputs": outputs, "concurrency_id": "truth", "concurrency_limit": 2}
        self.truth_file.upload(self.on_truth, [self.truth_file, visit], **truth, trigger_mode="multiple").then(
            outputs=self.truth_file, **emptied
        )
        self.remove.click(self.on_remove, visit, **truth)
        picked = self.gallery.select(self.on_sample, inputs, **network)
        self.several.wire([*self.task, self.sharp, self.model, self.resize, self.tta])
        chosen = [self.several.sources, self.several.batch, *inputs]
        one = self.several.gallery.select(self.on_one_of_several, chosen, **network)
        controls.deselect([self.gallery, self.several.gallery], self.upload.change, self.upload)
        controls.deselect([self.several.gallery], self.gallery.select)
        controls.deselect([self.gallery], self.several.gallery.select)
        other = gr.on([self.model.change, self.resize.change, self.tta.change], self.on_model, inputs, **network)
        kept = [controls.photograph_input(visible=False), gr.Number(precision=0, visible=False)]
        again = go_on.click(self.on_go_on, [*kept, *inputs], js=_KEPT_IN_BROWSER, **network)
        self.requests.fails_in_words(loaded, uploaded, picked, one, other, again)
        self.requests.brings_into_view(self.gallery.select, self.upload.input, picked.then, uploaded.then)
        self.requests.brings_into_view(self.several.gallery.select, one.then)
        self.requests.brings_into_view(other.then, only_errors=True)

    async def on_load(
        self, address: Any, visit: Visit, model: str, resize: str, tta: bool, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """The page was opened: show the sample and the settings of the address, by default the first sample."""
        parameters = links.read(address)
        settings: dict[str, Any] = {"model": model, "resize": resize, "tta": tta} | self.link.settings(parameters)
        sample = links.sample_in(parameters, self.thumbnails.samples)
        asked = settings["model"], settings["resize"], settings["tta"]
        async for said in self._open(sample.path, visit, *asked, request):
            yield said

    def on_link(self, address: Any, in_links: Mapping[str, Any], unfold: Callable[[list], dict]) -> list:
        """The page was opened: set the controls as the address says, and unfold those that it sets."""
        settings = self.link.settings(links.read(address))
        unfolded = unfold([settings.get(name, each.value) for name, each in in_links.items()])
        return [*(settings.get(name, gr.skip()) for name in in_links), unfolded]

    async def on_upload(
        self, path: str | None, visit: Visit, model: str, resize: str, tta: bool, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """A photograph was uploaded; None means that the input was emptied."""
        if path is None:
            yield self.requests.same
            return
        async for said in self._open(path, visit, model, resize, tta, request):
            yield said

    async def on_sample(
        self, event: gr.SelectData, visit: Visit, model: str, resize: str, tta: bool, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """One of the samples was picked."""
        samples = self.thumbnails.samples
        if not (isinstance(event.index, int) and 0 <= event.index < len(samples)):
            raise gr.Error(controls.NO_IMAGE, print_exception=False)
        path = samples[event.index].path
        async for said in self._open(path, visit, model, resize, tta, request):
            yield said

    async def on_one_of_several(
        self,
        event: gr.SelectData,
        _: Any,
        batch: Any,  # a Batch or None; Gradio needs annotations that it can resolve
        visit: Visit,
        model: str,
        resize: str,
        tta: bool,
        request: gr.Request,
    ) -> AsyncIterator[tuple]:
        """One of several photographs was picked: show it as if it had been uploaded alone."""
        done = batch.done if batch else []
        if not (isinstance(event.index, int) and 0 <= event.index < len(done)):
            raise gr.Error(controls.NO_IMAGE, print_exception=False)
        if not done[event.index].source.exists():
            raise sessions.lost()  # the browser may still have it
        async for said in self._open(done[event.index].source, visit, model, resize, tta, request):
            yield said

    async def on_model(
        self, visit: Visit, model: str, resize: str, tta: bool, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """The model, resize or test-time augmentation changed. The network runs only for settings that are new."""
        from demo.answers import photographs

        source = visit.wanted
        if source is None:
            yield self.requests.same
            return
        if source == visit.answered and photographs.is_known(self.pool, visit.shown, model, resize, tta):
            visit.answer(self.pool.turns, photographs.segment_again(self.pool, visit.shown, model, resize, tta))
            yield self.requests.there(visit)
            return

        def again() -> Shown:
            if visit.answered != source:  # the request for the photograph is still pending
                return photographs.open_photograph(self.pool, visit.shown, source, model, resize, tta)
            return photographs.segment_again(self.pool, visit.shown, model, resize, tta)

        async for said in self.requests.ask(visit, request, source, again, kind=(model, resize, tta)):
            yield said

    async def _open(
        self, path: str | Path, visit: Visit, model: str, resize: str, tta: bool, request: gr.Request
    ) -> AsyncIterator[tuple]:
        from demo.answers import photographs

        def opened() -> Shown:
            return photographs.open_photograph(self.pool, visit.shown, path, model, resize, tta)

        async for said in self.requests.ask(visit, request, Path(path), opened, kind=(model, resize, tta)):
            yield said

    async def on_go_on(
        self,
        path: str | None,
        sample: int | None,
        visit: Visit,
        model: str,
        resize: str,
        tta: bool,
        request: gr.Request,
    ) -> AsyncIterator[tuple]:
        """The connection was lost: what was asked for last, from what the browser hands over, the photograph or the
        number of the sample, else from what is kept here.
        """
        if path is None and sample is None and visit.wanted is not None:
            answers = self.on_model(visit, model, resize, tta, request)
        else:
            samples = self.thumbnails.samples
            source = Path(path) if path else None
            if source is None and sample is not None:
                source = samples[sample % len(samples)].path
            if source is None:
                raise sessions.lost()
            answers = self._open(source, visit, model, resize, tta, request)
        async for said in answers:
            yield said

    @events.spoken(len(PhotographLook._fields) + 1)
    def on_look(self, visit: Visit, *told: Any) -> tuple | None:
        """Show the kept result with the current mode, class, threshold and edges. The network does not run."""
        *how, known = told
        if visit.shown is None:
            return None
        look = photograph_look(visit.shown, own_truth(visit), how, self.thumbnails.of_file(visit.shown.source))
        return look._replace(viewer=pictures.unless_known(look.viewer, known))

    @events.spoken(3)
    def on_truth(self, path: str | None, visit: Visit) -> tuple | None:
        """A truth was uploaded: switch sharp edges off for the scores. None means that the input was emptied."""
        from demo.answers import photographs

        if path is None:
            return None
        shown = events.required(visit.shown)
        visit.reading = reading = object()
        truth = photographs.read_truth(shown, path)
        if visit.reading is not reading:  # meanwhile another truth was given, or the truth was removed
            return None
        if visit.shown.key != shown.key:
            raise UsageError("Another photograph came while this truth was read. Please give the truth of that one.")
        visit.truth = shown.key, truth
        return uuid.uuid4().hex, False

    @events.spoken(3)
    def on_remove(self, visit: Visit) -> tuple | None:
        """The truth was removed: show only the photograph."""
        visit.truth = visit.reading = None
        return uuid.uuid4().hex, True

    def write_download(self, kind: str, folder: Path, visit: Visit, *how: Any) -> Path:
        """Write one file of what is shown, at full size."""
        from demo.answers import photographs

        shown, (*task, sharp, told) = events.required(visit.shown), how
        asked = photographs.task_of(*events.task_of(task), shown.result.categories)
        return photographs.write_download(shown, asked, kind, folder, sharp, downloads.visible_in(told))

    def write_scores(self, kind: str, folder: Path, visit: Visit, *how: Any) -> Path:
        """Write the figure, or the scores against the visitor's truth, as a file."""
        from demo.answers import ground_truth, photographs

        shown, (*task, sharp, told) = events.required(visit.shown), how
        truth = own_truth(visit)
        if truth is None:
            raise UsageError("There is no truth of this photograph: give one first.")
        asked = photographs.task_of(*events.task_of(task), shown.result.categories)
        view = ground_truth.view_own_truth(shown, truth, asked, sharp)
        if kind == "figure":
            return ground_truth.figure(shown.screen, shown.result, view, folder, downloads.visible_in(told))
        return ground_truth.scores_file(view, folder, kind)


# Fills the first two inputs in the browser: the last photograph, uploaded again, or the number of the last sample.
_KEPT_IN_BROWSER = "async (...inputs) => [...(await segcoreKept()), ...inputs.slice(2)]"
