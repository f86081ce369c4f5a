"""The tab for images whose truth is known: prediction beside truth, the map of errors, and the scores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.answers.datasets import Datasets
from demo.answers.model_pool import Engine
from demo.answers.samples import Thumbnails
from demo.markup import tables
from demo.tabs import controls
from demo.view.component import picture_viewer
from demo.waiting.visits import Visit

if TYPE_CHECKING:
    from demo.answers.ground_truth import Compared
    from segcore.truth.dataset import ImageId

PER_PAGE = 24
OUTPUTS = 8  # viewer, credit, verdict, warning, overall, per_class, made_by, notice
ALL = "background"  # no object is called so, whatever a model's categories are
spoken = controls.spoken(OUTPUTS)


class GroundTruthTab:
    """Layout, wiring and callbacks; a visitor's own things live in `asking.visit`, in that visitor's session."""

    def __init__(
        self, page: gr.Blocks, tab: gr.Tab, engine: Engine, datasets: Datasets, thumbnails: Thumbnails
    ) -> None:
        self.engine = engine
        self.datasets = datasets
        self.thumbnails = thumbnails
        self._lay_out()
        self._wire(page, tab)

    def _lay_out(self) -> None:
        self.offered = gr.State(None)  # the key of a dataset, and the ids of its images that the gallery shows
        self.page_number = gr.State(0)
        with gr.Row(elem_classes="workspace"):
            with gr.Column(min_width=0, elem_classes="picture-column"):
                self.asking = controls.Asking(self.engine.turns, "truth")
                self.verdict = controls.html("truth-verdict")
                self.viewer = picture_viewer(
                    elem_id="truth-viewer", placeholder="Pick an image to see how well it is understood."
                )
                self.credit = controls.html("truth-credit")
                self.warning = controls.html("truth-warning")
            with gr.Column(min_width=0, elem_classes="control-column"):
                self.source = controls.dataset_choice(
                    self.datasets,
                    label="Images from",
                    visible=len(self.datasets.choices) > 1,
                    elem_id="truth-source",
                )
                self.class_filter = gr.Dropdown(
                    [("All images", ALL), *controls.object_choices(self.engine.categories)],
                    value=ALL,
                    label="Images with",
                    elem_id="truth-filter",
                )
                self.gallery = controls.gallery("Pick an image", "truth-gallery", columns=3)
                with gr.Row(elem_classes="pager") as self.pager:
                    self.previous = gr.Button("‹ Previous", size="sm", min_width=80)
                    self.where = controls.html("truth-where")
                    self.next = gr.Button("Next ›", size="sm", min_width=80)
                with gr.Group():
                    self.task = controls.task_controls(self.engine.categories)
                    self.sharp = controls.sharp_control(False, controls.OWN_SCORES)
                with gr.Group():
                    self.protocol = controls.protocol_control()
                    self.model, self.resize = controls.model_controls(self.engine)
                with gr.Accordion("Take it away", open=False):
                    controls.download_buttons(
                        {"figure": "Figure (PNG)", ".csv": "Scores (CSV)", ".json": "Scores (JSON)"},
                        self.write_download,
                        [self.asking.visit, *self.task, self.sharp],
                    )
            with gr.Column(min_width=0, elem_classes="details-column"):
                self.overall = controls.html("truth-overall")
                self.per_class = controls.html("truth-per-class")
                self.made_by = controls.html("truth-made-by")

    @property
    def _outputs(self) -> list:
        return [
            *(self.viewer, self.credit, self.verdict, self.warning),
            *(self.overall, self.per_class, self.made_by, self.asking.notice),
        ]

    def _wire(self, page: gr.Blocks, tab: gr.Tab) -> None:
        choice = [self.asking.visit, self.model, self.protocol, self.resize]
        self._network = controls.NETWORK | {
            "outputs": self.asking.outputs,
            "api_visibility": "private",
            "show_progress_on": self.viewer,
        }
        pages = {
            "outputs": [self.gallery, self.offered, self.page_number, self.where, self.pager],
            "api_visibility": "private",
            "show_progress": "hidden",
        }
        which = [self.source, self.class_filter]
        page.load(self.on_filter, which, **pages)
        gr.on([self.source.change, self.class_filter.change], self.on_filter, which, **pages)
        self.previous.click(self.on_previous, [*which, self.page_number], **pages)
        self.next.click(self.on_next, [*which, self.page_number], **pages)
        tab.select(self.on_sources, self.source, self.source, **controls.LIGHT)
        tab.select(self.on_open, [self.offered, *choice], **self._network)
        self.gallery.select(self.on_pick, [self.offered, *choice], **self._network)
        run_again = [self.model.change, self.resize.change, self.protocol.change]
        gr.on(run_again, self.on_setting, choice, **self._network)
        looks = [self.asking.arrived.change, *(each.change for each in (*self.task, self.sharp))]
        gr.on(looks, self.on_look, [self.asking.visit, *self.task, self.sharp], self._outputs, **controls.LOOK)

    def show_images_of(self, tabs: gr.Tabs, own_id: str, sent: gr.State, events: list[Any]) -> None:
        """After each of `events`, show the image in the state `sent`, as it was scored, in this tab."""
        settings = [self.source, self.model, self.protocol, self.resize, *self.task, self.sharp]
        for event in events:
            event.then(
                lambda it: (gr.update(selected=own_id), it[0].dataset, *controls.asked_in(it[0])),
                sent,
                [tabs, *settings],
                **controls.LIGHT,
            ).then(self.on_sent, [sent, self.asking.visit], **self._network)

    # ---- the gallery

    def on_sources(self, source: str) -> dict:
        """The tab is opened: what was fetched since is offered too."""
        return controls.offered(self.datasets, source) | {"visible": len(self.datasets.choices) > 1}

    def on_filter(self, source: str, class_filter: str) -> tuple:
        """Another set or class, or the start: its first images."""
        return self._page_of_images(source, class_filter, 0)

    def on_previous(self, source: str, class_filter: str, page_number: int) -> tuple:
        return self._page_of_images(source, class_filter, page_number - 1)

    def on_next(self, source: str, class_filter: str, page_number: int) -> tuple:
        return self._page_of_images(source, class_filter, page_number + 1)

    def _page_of_images(self, source: str, class_filter: str, page_number: int) -> tuple:
        dataset = controls.dataset_of(self.datasets, source)
        if class_filter == ALL:
            ids = [image.id for image in dataset.images]
        else:
            ids = dataset.ids_with_class(dataset.categories.object_id(class_filter))
        ids = self.thumbnails.in_order(dataset, ids)
        last = max(0, (len(ids) - 1) // PER_PAGE)
        page_number = min(max(0, page_number), last)
        ids_here = ids[page_number * PER_PAGE : (page_number + 1) * PER_PAGE]
        samples = [self.thumbnails.sample(dataset, dataset.image(number)) for number in ids_here]
        return (
            gr.update(value=controls.pictures(samples), selected_index=None),
            (source, ids_here),
            page_number,
            tables.where(page_number + 1, last + 1, len(ids)),
            gr.update(visible=last > 0),
        )

    # ---- the comparison

    async def on_open(
        self, offered: tuple, visit: Visit, model: str, protocol: str, resize: str, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """The tab is opened: for the first time, with the first image."""
        source, image_ids = offered
        if visit.wanted is not None or not image_ids:
            yield self.asking.same
            return
        async for said in self._compare((source, image_ids[0]), visit, model, protocol, resize, request):
            yield said

    async def on_pick(
        self,
        event: gr.SelectData,
        offered: tuple,
        visit: Visit,
        model: str,
        protocol: str,
        resize: str,
        request: gr.Request,
    ) -> AsyncIterator[tuple]:
        """An image of the gallery was picked."""
        source, image_ids = offered
        async for said in self._compare((source, image_ids[event.index]), visit, model, protocol, resize, request):
            yield said

    async def on_sent(self, sent: Any, visit: Visit, request: gr.Request) -> AsyncIterator[tuple]:
        """An image of a whole set was picked: shown as it was scored there."""
        asked, image_id = sent
        how = asked.model, asked.protocol, asked.resize
        async for said in self._compare((asked.dataset, image_id), visit, *how, request):
            yield said

    async def on_setting(
        self, visit: Visit, model: str, protocol: str, resize: str, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """Another model, resize or protocol: runs the network only where the tensor it sees is another."""
        if visit.wanted is None:
            yield self.asking.same
            return
        async for said in self._compare(visit.wanted, visit, model, protocol, resize, request):
            yield said

    async def _compare(
        self, wanted: tuple[str, ImageId], visit: Visit, model: str, protocol: str, resize: str, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """Compare an image, named by its dataset's key and its id."""
        from demo.answers import ground_truth

        key, image_id = wanted

        def compared() -> Compared:
            dataset = self.datasets.get(key)
            return ground_truth.compare(self.engine, visit.shown, dataset, image_id, model, protocol, resize)

        if wanted == visit.answered and ground_truth.is_known(self.engine, visit.shown, model, protocol, resize):
            visit.answer(self.engine.turns, compared())
            yield self.asking.there(visit)
            return
        async for said in self.asking.ask(visit, request, wanted, compared, kind=(model, protocol, resize)):
            yield said

    @spoken
    def on_look(self, visit: Visit, *how: Any) -> tuple | None:
        """What is kept, as mode, class, threshold and edges are now: the kept logits answer."""
        from demo.answers import ground_truth, photographs

        compared = visit.shown
        if compared is None:
            return None
        *task, sharp = how
        asked = photographs.task_of(*task, compared.result.categories)
        view = ground_truth.view_compared(compared, asked, compared.protocol, sharp)
        sample = self.thumbnails.of_file(compared.path)
        warning = tables.notice(view.warning) + tables.fails(sample, compared.result.made_by)
        said = tables.credit(sample and sample.credit), tables.verdict(view.verdict), warning
        return visit.viewer_for_browser(view.viewer), *said, view.overall, view.per_class, view.made_by

    def write_download(self, kind: str, folder: Path, visit: Visit, *how: Any) -> Path:
        """The report's figure, or the scores as a file."""
        from demo.answers import ground_truth, photographs

        compared, (*task, sharp) = controls.required(visit.shown), how
        asked = photographs.task_of(*task, compared.result.categories)
        view = ground_truth.view_compared(compared, asked, compared.protocol, sharp)
        if kind == "figure":
            return ground_truth.figure(compared.dataset.read_image(compared.image_id), view, asked, folder)
        return ground_truth.scores_file(view, folder, kind)
