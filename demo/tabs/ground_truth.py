"""The tab for images whose truth is known: prediction beside truth, the map of errors, and the scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from demo import tables
from demo.datasets import Datasets
from demo.engine import Engine
from demo.samples import Thumbnails
from demo.tabs import controls
from demo.viewer import picture_viewer

PER_PAGE = 24
OUTPUTS = 8  # compared, viewer, verdict, warning, overall, per_class, made_by, notice
ALL = "all"
spoken = controls.spoken(OUTPUTS)


class GroundTruthTab:
    """Layout, wiring and callbacks; a visitor's own things live in `compared`, in that visitor's session."""

    def __init__(
        self, page: gr.Blocks, tab: gr.Tab, engine: Engine, datasets: Datasets, thumbnails: Thumbnails
    ) -> None:
        self.engine = engine
        self.datasets = datasets
        self.thumbnails = thumbnails
        self._lay_out()
        self._wire(page, tab)

    def _lay_out(self) -> None:
        self.compared = gr.State(None, time_to_live=controls.SESSION_SECONDS)
        self.offered = gr.State(None)  # the key of a dataset, and the ids of its images that the gallery shows
        self.page_number = gr.State(0)
        with gr.Row(elem_classes="workspace"):
            with gr.Column(min_width=0, elem_classes="picture-column"):
                self.notice = controls.html("truth-notice")
                self.verdict = controls.html("truth-verdict")
                self.viewer = picture_viewer(
                    elem_id="truth-viewer", placeholder="Pick an image to see how well it is understood."
                )
                self.warning = controls.html("truth-warning")
            with gr.Column(min_width=0, elem_classes="control-column"):
                self.source = gr.Dropdown(
                    self.datasets.choices,
                    value=self.datasets.default,
                    label="Images from",
                    filterable=False,
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
                with gr.Group():
                    self.protocol = controls.protocol_control()
                    self.model, self.resize = controls.model_controls(self.engine)
                with gr.Accordion("Take it away", open=False):
                    controls.download_buttons(
                        {"figure": "Figure (PNG)", ".csv": "Scores (CSV)", ".json": "Scores (JSON)"},
                        self.write_download,
                        [self.compared, self.protocol, *self.task],
                    )
            with gr.Column(min_width=0, elem_classes="details-column"):
                self.overall = controls.html("truth-overall")
                self.per_class = controls.html("truth-per-class")
                self.made_by = controls.html("truth-made-by")

    @property
    def _outputs(self) -> list:
        return [
            *(self.compared, self.viewer, self.verdict, self.warning),
            *(self.overall, self.per_class, self.made_by, self.notice),
        ]

    def _wire(self, page: gr.Blocks, tab: gr.Tab) -> None:
        choice = [self.compared, self.model, self.protocol, self.resize, *self.task]
        out = {"outputs": self._outputs, "api_visibility": "private"}
        pages = {
            "outputs": [self.gallery, self.offered, self.page_number, self.where, self.pager],
            "api_visibility": "private",
            "show_progress": "hidden",
        }
        network, pick = (each | {"show_progress_on": self.viewer} for each in (controls.NETWORK, controls.PICK))
        which = [self.source, self.class_filter]
        page.load(self.on_filter, which, **pages)
        gr.on([self.source.change, self.class_filter.change], self.on_filter, which, **pages)
        self.previous.click(self.on_previous, [*which, self.page_number], **pages)
        self.next.click(self.on_next, [*which, self.page_number], **pages)
        tab.select(self.on_sources, self.source, self.source, **controls.LIGHT)
        tab.select(self.on_open, [self.offered, *choice], **out, **network)
        self.gallery.select(self.on_pick, [self.offered, *choice], **out, **pick)
        run_again = [self.model.change, self.resize.change, self.protocol.change]
        gr.on(run_again, self.on_setting, choice, **out, **network)
        gr.on(
            [each.change for each in self.task],
            self.on_look,
            [self.compared, self.protocol, *self.task],
            **out,
            **controls.QUICK,
        )

    def show_images_of(self, tabs: gr.Tabs, own_id: str, sent: gr.State, events: list[Any]) -> None:
        """After each of `events`, show the image in the state `sent`, as it was scored, in this tab."""
        settings = [self.source, self.model, self.protocol, self.resize, *self.task]
        for event in events:
            event.then(
                lambda it: (gr.update(selected=own_id), it[0].dataset, *controls.asked_in(it[0])),
                sent,
                [tabs, *settings],
                **controls.LIGHT,
            ).then(self.on_sent, [sent, self.compared], self._outputs, api_visibility="private", **controls.PICK)

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
            ids = list(dataset.ids_with_class(dataset.categories.object_id(class_filter)))
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

    @spoken
    def on_open(self, offered: tuple, compared: Any, *choice: Any) -> tuple | None:
        """The tab is opened: for the first time, with the first image."""
        source, image_ids = offered
        if compared is not None or not image_ids:
            return None
        return self._compare(self.datasets.get(source), image_ids[0], None, *choice)

    @spoken
    def on_pick(self, event: gr.SelectData, offered: tuple, compared: Any, *choice: Any) -> tuple | None:
        """An image of the gallery was picked."""
        source, image_ids = offered
        return self._compare(self.datasets.get(source), image_ids[event.index], compared, *choice)

    @spoken
    def on_sent(self, sent: Any, compared: Any) -> tuple | None:
        """An image of a whole set was picked: shown as it was scored there."""
        wanted, image_id = sent
        return self._compare(self.datasets.get(wanted.dataset), image_id, compared, *controls.asked_in(wanted))

    @spoken
    def on_setting(self, compared: Any, *choice: Any) -> tuple | None:
        """Another model, resize or protocol: runs the network only where the tensor it sees is another."""
        return None if compared is None else self._compare(compared.dataset, compared.image_id, compared, *choice)

    @spoken
    def on_look(self, compared: Any, protocol: str, *task: Any) -> tuple | None:
        """Mode, class or threshold: the kept logits answer."""
        return None if compared is None else self._look(compared, protocol, task, photo_sent=True)

    def _compare(
        self, dataset: Any, image_id: int, compared: Any, model: str, protocol: str, resize: str, *task: Any
    ) -> tuple:
        from demo import comparison

        compared = comparison.compare(self.engine, compared, dataset, image_id, model, protocol, resize)
        return self._look(compared, protocol, task, photo_sent=False)

    def _look(self, compared: Any, protocol: str, task: tuple, *, photo_sent: bool) -> tuple:
        from demo import comparison, handlers

        asked = handlers.task_of(*task, compared.result.categories)
        view = comparison.view_compared(compared, asked, protocol, photo_sent=photo_sent)
        verdict = tables.verdict(view.verdict)
        return compared, view.viewer, verdict, tables.notice(view.warning), view.overall, view.per_class, view.made_by

    def write_download(self, kind: str, folder: Path, compared: Any, protocol: str, *task: Any) -> Path:
        """The report's figure, or the scores as a file."""
        from demo import comparison, handlers

        asked = handlers.task_of(*task, controls.required(compared).result.categories)
        view = comparison.view_compared(compared, asked, protocol)
        if kind == "figure":
            return comparison.figure(compared.dataset.read_image(compared.image_id), view, asked, folder)
        return comparison.scores_file(view, folder, kind)
