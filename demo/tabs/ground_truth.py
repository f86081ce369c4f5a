"""The tab for images with ground truth: prediction beside truth, the map of errors, and the scores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.answers.datasets import Datasets
from demo.answers.model_pool import ModelPool
from demo.answers.samples import Thumbnails
from demo.markup import tables
from demo.tabs import controls, downloads, events, links
from demo.tabs.looks import ComparedLook, PageOfImages, compared_look
from demo.tabs.visitor_requests import VisitorRequests
from demo.view import pictures
from demo.view.component import picture_viewer
from demo.waiting.visits import Visit
from segcore.truth.dataset import ImageId

if TYPE_CHECKING:
    from demo.answers.ground_truth import Compared

PER_PAGE = 24
ALL = "background"  # stands for all images; no object class has this name


class GroundTruthTab:
    """Layout, wiring and callbacks. A visitor's state is in `requests.visit`, in the visitor's session."""

    def __init__(
        self,
        page: gr.Blocks,
        tab: gr.Tab,
        pool: ModelPool,
        datasets: Datasets,
        thumbnails: Thumbnails,
        go_on: gr.Button,
    ) -> None:
        """go_on: a button that connection.js clicks to continue after the connection was lost."""
        self.pool = pool
        self.datasets = datasets
        self.thumbnails = thumbnails
        self._lay_out()
        self._wire(page, tab, go_on)

    def _lay_out(self) -> None:
        # Kept in the browser together with the gallery, so that a click refers to what the visitor saw.
        # Ids are texts here, because a browser's numbers have 53 bits.
        # The key of a dataset, and the ids of its images that the gallery shows.
        self.offered = gr.JSON(visible=False)
        self.page_number = gr.Number(0, precision=0, visible=False)
        with gr.Row(elem_classes="workspace"):
            with gr.Column(min_width=0, elem_classes="picture-column"):
                self.requests = VisitorRequests(self.pool.turns, "truth")
                self.back = gr.Button("‹ Back to the set", size="sm", visible=False, elem_id="truth-back")
                self.verdict = controls.html("truth-verdict")
                self.viewer = picture_viewer(
                    elem_id="truth-viewer", placeholder="Pick an image to see how well it is understood."
                )
                self.link = links.LinkControls(links.TRUTH)
                self.credit = controls.html("truth-credit")
                self.warning = controls.html("truth-warning")
            with gr.Column(min_width=0, elem_classes="control-column"):
                self._lay_out_images()
                with gr.Group():
                    self.task = controls.task_controls(self.pool.categories)
                with controls.more_options() as self.more:
                    self.sharp = controls.sharp_control(False, controls.OWN_SCORES)
                    self.protocol = controls.protocol_control()
                    self.model, self.resize = controls.model_controls(self.pool)
                with gr.Accordion("Download", open=False):
                    downloads.download_buttons(
                        {"figure": "Figure (PNG)", ".csv": "Scores (CSV)", ".json": "Scores (JSON)"},
                        self.write_download,
                        [self.requests.visit, *self.task, self.sharp],
                        self.viewer,
                    )
            with gr.Column(min_width=0, elem_classes="details-column"):
                self.overall = controls.html("truth-overall")
                self.per_class = controls.html("truth-per-class")
                self.provenance = controls.html("truth-provenance")

    def _lay_out_images(self) -> None:
        self.source = controls.dataset_choice(
            self.datasets,
            label="Images from",
            visible=len(self.datasets.choices) > 1,
            elem_id="truth-source",
        )
        self.class_filter = gr.Dropdown(
            [("All images", ALL), *controls.object_choices(self.pool.categories)],
            value=ALL,
            label="Images with",
            elem_id="truth-filter",
        )
        self.gallery = controls.gallery("Pick an image", "truth-gallery", columns=3)
        with gr.Row(elem_classes="pager") as self.pager:
            self.previous = gr.Button("‹ Previous", size="sm", min_width=80)
            self.where = controls.html("truth-where")
            self.next = gr.Button("Next ›", size="sm", min_width=80)

    @property
    def _in_links(self) -> dict[str, Any]:
        """Return the controls by their names in a link."""
        others = {"model": self.model, "resize": self.resize, "protocol": self.protocol}
        return self.task.in_links(self.sharp) | others

    @property
    def _outputs(self) -> list:
        return [*(getattr(self, name) for name in ComparedLook._fields), self.requests.notice]

    def _wire(self, page: gr.Blocks, tab: gr.Tab, go_on: gr.Button) -> None:
        choice = [self.requests.visit, self.model, self.protocol, self.resize]
        self._network = events.NETWORK | {
            "outputs": self.requests.outputs,
            "api_visibility": "private",
            "show_progress_on": self.viewer,
        }
        pages: dict[str, Any] = {
            "outputs": [getattr(self, name) for name in PageOfImages._fields],
            "api_visibility": "private",
            "show_progress": "hidden",
        }
        which = [self.source, self.class_filter, self.requests.visit]
        self._pages = {"fn": self.on_filter, "inputs": which} | pages
        changes = [page.load, self.source.change, self.class_filter.change]
        changed = gr.on(changes, **self._pages, trigger_mode="always_last")
        back = self.previous.click(self.on_previous, [*which, self.page_number], **pages)
        forth = self.next.click(self.on_next, [*which, self.page_number], **pages)
        for turned in (changed, back, forth):
            controls.select_opened(turned, self.gallery, self.offered)
        tab.select(self.on_sources, self.source, self.source, **events.LIGHT)
        opened = tab.select(self.on_open, [self.offered, *choice], js=_UNLESS_LINKED, **self._network)
        picked = self.gallery.select(self.on_pick, [self.offered, *choice], **self._network)
        self.gallery.select(None, None, self.back, js=events.updated(visible=False), api_visibility="private")
        run_again = [self.model.change, self.resize.change, self.protocol.change]
        other = gr.on(run_again, self.on_setting, choice, **self._network)
        looks = [self.requests.arrived.change, *(each.change for each in (*self.task, self.sharp))]
        seen = [self.requests.visit, *self.task, self.sharp, self.requests.known]
        looked = gr.on(looks, self.on_look, seen, self._outputs, **events.LOOK)
        self._opening = self.link.follow(self._in_links, self.thumbnails.samples, looked)
        again = go_on.click(self.on_go_on, [gr.JSON(visible=False), *choice], js=_IN_BROWSER, **self._network)
        self.requests.fails_in_words(opened, picked, other, again)
        self.requests.brings_into_view(self.gallery.select, picked.then)
        self.requests.brings_into_view(other.then, only_errors=True)

    def show_images_of(self, tabs: gr.Tabs, own_id: str, sent: gr.JSON, picks: list[Any], *, by_set: bool) -> None:
        """After each event of `picks`, show the image in `sent`, [settings, image id], in this tab as it was scored.

        by_set: whether the tab for a whole set sends it, to which the button *Back to the set* leads.
        """
        settings = [self.source, self.model, self.protocol, self.resize, *self.task, self.sharp]
        outputs = [tabs, self.back, self.class_filter, self.more, *settings]
        tab = gr.update(selected=own_id) if by_set else gr.skip()  # for a link, the browser has opened it already
        opened = tab, gr.update(visible=by_set), ALL
        unfold = controls.unfolding(self.more, settings)

        def show(sent: Any) -> tuple:
            values, _ = _sent(sent)
            return *opened, unfold(values), *values

        for event in picks:
            shown = event.success(show, sent, outputs, **events.LIGHT).success(
                self.on_sent, [sent, self.requests.visit], **self._network
            )
            controls.select_opened(shown.success(**self._pages), self.gallery, self.offered)
            self.requests.fails_in_words(shown)
            self.requests.brings_into_view(shown.then)

    def open_link(self, page: gr.Blocks, tabs: gr.Tabs, own_id: str) -> None:
        """Show the image that the page's address names, where it names one."""
        linked = gr.JSON(visible=False)
        page.load(self.on_link, gr.Textbox(visible=False), linked, js=self._opening, **events.LIGHT)
        changed = linked.change(lambda: None, None, None, **events.LIGHT)
        self.show_images_of(tabs, own_id, linked, [changed], by_set=False)

    def on_link(self, address: Any) -> Any:
        """The page was opened: return the settings and the image of its address, in the form that `_sent` takes."""
        parameters = links.read(address)
        image_id, dataset = parameters.get("image"), parameters.get("images")
        if parameters["tab"] != links.TRUTH or image_id is None:
            return gr.skip()
        if dataset not in dict(self.datasets.choices).values():
            dataset = self.datasets.default
        of_link = self.link.settings(parameters)
        settings = {name: of_link.get(name, each.value) for name, each in self._in_links.items()}
        task = [settings[name] for name in self.task.in_links(self.sharp)]
        return [[dataset, settings["model"], settings["protocol"], settings["resize"], *task], image_id]

    # ---- the gallery

    def on_sources(self, source: str) -> dict:
        """The tab was opened: also offer images that were downloaded meanwhile."""
        return controls.offered(self.datasets, source) | {"visible": len(self.datasets.choices) > 1}

    def on_filter(self, source: str, class_filter: str, visit: Visit) -> PageOfImages:
        """The page was opened, or another set or class was chosen: show the page of the image that is compared."""
        return self._page_of_images(source, class_filter, visit, None)

    def on_previous(self, source: str, class_filter: str, visit: Visit, page_number: int | None) -> PageOfImages:
        return self._page_of_images(source, class_filter, visit, (page_number or 0) - 1)

    def on_next(self, source: str, class_filter: str, visit: Visit, page_number: int | None) -> PageOfImages:
        return self._page_of_images(source, class_filter, visit, (page_number or 0) + 1)

    def _page_of_images(self, source: str, class_filter: str, visit: Visit, page_number: int | None) -> PageOfImages:
        """Return a page of the gallery; without a number, the page of the image that is compared, or the first."""
        dataset = controls.dataset_of(self.datasets, source)
        if class_filter == ALL:
            ids: Sequence[ImageId] = [image.id for image in dataset.images]
        else:
            ids = dataset.ids_with_class(dataset.categories.object_id(class_filter))
        ids = self.thumbnails.in_order(dataset, ids)
        names = [str(number) for number in ids]  # as in `visit.wanted`
        compared = visit.wanted[1] if visit.wanted and visit.wanted[0] == source else None
        at = names.index(compared) if compared in names else -1
        if page_number is None:
            page_number = max(0, at) // PER_PAGE
        last = max(0, (len(ids) - 1) // PER_PAGE)
        page_number = min(max(0, page_number), last)
        first = page_number * PER_PAGE
        ids_here = ids[first : first + PER_PAGE]
        samples = [self.thumbnails.sample(dataset, dataset.image(number)) for number in ids_here]
        return PageOfImages(
            gallery=controls.pictures(samples),
            offered=[source, names[first : first + PER_PAGE]] if ids_here else None,
            page_number=page_number,
            where=tables.where(page_number + 1, last + 1, len(ids)),
            pager=gr.update(visible=last > 0),
        )

    # ---- the comparison

    async def on_open(
        self, offered: tuple, visit: Visit, model: str, protocol: str, resize: str, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """The tab was opened: if nothing was asked for so far, show the first image."""
        if visit.newest or not offered:
            yield self.requests.same
            return
        async for said in self._compare(_chosen(offered, 0), visit, model, protocol, resize, request):
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
        chosen = _chosen(offered, event.index)
        async for said in self._compare(chosen, visit, model, protocol, resize, request):
            yield said

    async def on_sent(self, sent: Any, visit: Visit, request: gr.Request) -> AsyncIterator[tuple]:
        """An image of the tab for a whole set was picked: show it as it was scored there."""
        (dataset, model, protocol, resize, *_), image_id = _sent(sent)
        async for said in self._compare((dataset, image_id), visit, model, protocol, resize, request):
            yield said

    async def on_go_on(
        self, image: Any, visit: Visit, model: str, protocol: str, resize: str, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """Continue after a lost connection with the last request. image: that request, as the browser remembers it."""
        wanted = _chosen(image, 0) if image else visit.wanted
        if wanted is None:
            yield self.requests.same
            return
        async for said in self._compare(wanted, visit, model, protocol, resize, request):
            yield said

    async def on_setting(
        self, visit: Visit, model: str, protocol: str, resize: str, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """The model, resize or protocol changed. The network runs only if its input tensor changes."""
        if visit.wanted is None:
            yield self.requests.same
            return
        async for said in self._compare(visit.wanted, visit, model, protocol, resize, request):
            yield said

    async def _compare(
        self, wanted: tuple[str, str], visit: Visit, model: str, protocol: str, resize: str, request: gr.Request
    ) -> AsyncIterator[tuple]:
        """Compare an image, named by its dataset's key and its id."""
        from demo.answers import ground_truth

        key, image_id = wanted

        def compared() -> Compared:
            dataset = self.datasets.get(key)
            asked = dataset, dataset.id_of(image_id), model, protocol, resize
            return ground_truth.compare(self.pool, visit.shown, *asked)

        if wanted == visit.answered and ground_truth.is_known(self.pool, visit.shown, model, protocol, resize):
            visit.answer(self.pool.turns, compared())
            yield self.requests.there(visit)
            return
        async for said in self.requests.ask(visit, request, wanted, compared, kind=(model, protocol, resize)):
            yield said

    @events.spoken(len(ComparedLook._fields) + 1)
    def on_look(self, visit: Visit, *told: Any) -> tuple | None:
        """Show the kept result with the current mode, class, threshold and edges. The network does not run."""
        *how, known = told
        if visit.shown is None:
            return None
        look = compared_look(visit.shown, how, self.thumbnails.of_file(visit.shown.path))
        return look._replace(viewer=pictures.unless_known(look.viewer, known))

    def write_download(self, kind: str, folder: Path, visit: Visit, *how: Any) -> Path:
        """Write the figure, or the scores as a file."""
        from demo.answers import ground_truth, photographs

        compared, (*task, sharp, told) = events.required(visit.shown), how
        asked = photographs.task_of(*events.task_of(task), compared.result.categories)
        view = ground_truth.view_compared(compared, asked, compared.protocol, sharp)
        if kind == "figure":
            photograph = compared.dataset.read_image(compared.image_id)
            return ground_truth.figure(photograph, compared.result, view, folder, downloads.visible_in(told))
        return ground_truth.scores_file(view, folder, kind)


_UNLESS_LINKED = """async (offered, ...others) => [
    segcoreLinks.namesImage ? null : offered ?? (await segcoreFirstOffered), ...others
]"""
_IN_BROWSER = "(_, ...others) => [segcoreImage(), ...others]"


def _chosen(offered: Any, index: Any) -> tuple[str, str]:
    """Return the dataset's key and the id of the image at `index` of those that the browser says it shows."""
    match offered, index:
        case [str(key), [*ids], *_], int() if 0 <= index < len(ids):
            return key, str(ids[index])
    raise gr.Error(controls.NO_IMAGE, print_exception=False)


def _sent(sent: Any) -> tuple[list, str]:
    """Check what the browser sends: the settings of a whole set, as in `controls.settings_of`, and an image's id."""
    match sent:
        case [[str(), str(), str(), str(), _, _, _, _, _] as settings, str(image_id)]:
            return settings, image_id
    raise gr.Error(controls.NO_IMAGE, print_exception=False)
