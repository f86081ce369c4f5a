"""The page: its frame, tabs, endpoints and theme."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo.answers.datasets import SAMPLES, Datasets
from demo.answers.model_pool import ModelPool
from demo.answers.overlaps import overlaps
from demo.answers.samples import Thumbnails
from demo.endpoints import Endpoints
from demo.markup import good_enough, tables
from demo.markup.guide import about
from demo.server import failures, sessions
from demo.server.checked_blocks import Call, CheckedBlocks, current_language
from demo.server.gradio_internals import is_upload
from demo.tabs import controls, events, links
from demo.tabs.ground_truth import GroundTruthTab
from demo.tabs.photograph import PhotographTab
from demo.tabs.whole_set import WholeSetTab
from demo.texts import LANGUAGES, answer_in, for_gradio, marked, texts, translate
from segcore.models import catalogue
from segcore.report import parts

TITLE = "segcore"
_SYSTEM_FONT = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
# System fonts, because the page must work without a network.
THEME = gr.themes.Default(
    primary_hue="indigo",
    secondary_hue="indigo",
    neutral_hue="slate",
    font=_SYSTEM_FONT,
    font_mono=["ui-monospace", "Consolas", "monospace"],
).set(  # Gradio's own colours have too little contrast
    body_text_color_subdued="*neutral_600",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)
_STAYS_ENGLISH = ("-credit", "-overall", "-per-class", "-provenance", "-summary", "-charts")  # as the reports do
_HERE = Path(__file__).parent
FAVICON = _HERE / "favicon.png"
OVERLAP_SCRIPT = (_HERE / "view" / "overlap.js").read_text(encoding="utf-8")
DESCRIPTION = "See what a segmentation model gets right and wrong, on your photograph and against ground truth."
_HEADER = """<header class="masthead"><h1>segcore</h1>
<p>See what a segmentation model sees: give it a photograph, or score it on images whose truth is known.</p>
</header>"""


class Page(CheckedBlocks):
    """Blocks that accept files only as uploads, because Gradio would also open URLs and paths of this machine.

    If a visitor's session is lost, all events that need it get the same answer.
    """

    go_on: gr.Button

    def shown(self, config: Any) -> Any:
        """Return the config with the texts marked that Gradio translates in the browser."""
        return marked(config, lambda text: str(gr.I18n()(text)))

    @property
    def translations(self) -> gr.I18n:
        """The translations of the controls, for `launch`."""
        return gr.I18n(**for_gradio(self.own_config()))

    def check_call(self, call: Call) -> None:
        by_browser = call.function is None  # browsers handle these events themselves and never send them
        if by_browser or any(map(_chooses_several, call.components, call.values)):
            raise failures.misfit()
        if call.is_caused_by(self.go_on) or any(event == "load" for _, event in call.triggers):
            call.session.begun = True
        elif call.has_state and not call.session.begun:
            raise sessions.lost()
        try:
            all_uploaded = all(map(is_upload, _paths_in(call.values)))
        except (ValueError, OSError) as error:  # invalid paths
            raise failures.misfit() from error
        if not all_uploaded:
            raise gr.Error("Please upload the file itself; addresses and paths are not opened.", print_exception=False)

    def failed(self, error: Exception) -> gr.Error:
        shown = failures.for_visitors(error)
        language = current_language()
        shown.message, shown.title = translate(shown.message, language), translate(shown.title, language)
        return shown

    def sent(self, component: Any, value: Any) -> Any:
        is_scores = str(component.elem_id).endswith(_STAYS_ENGLISH)
        return value if is_scores else answer_in(value, current_language(), component.get_block_name())


def _paths_in(value: Any) -> Iterator[str]:
    """Yield the paths of all files in an input's value."""
    if isinstance(value, dict) and value.get("path") is not None:
        yield str(value["path"])
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _paths_in(each)


def _chooses_several(block: Any, value: Any) -> bool:
    """Whether a dropdown's value is a list. The page's dropdowns take one value, but Gradio also accepts lists."""
    return isinstance(block, gr.Dropdown) and isinstance(value, list)


def head(space: str | None) -> str:
    """Return the HTML of the page's head: styles, scripts, and tags from which other sites make a preview of a link.

    The style is in the head, because Gradio rewrites the selectors of `css` so that they do not apply to the page's
    frame. space: the name of the Hugging Face Space that runs the page, USER/NAME, or None; the Space's repository has
    the picture for social media.
    """
    shown = {"og:title": TITLE, "og:type": "website", "og:description": DESCRIPTION, "twitter:title": TITLE}
    shown |= {"twitter:card": "summary_large_image" if space else "summary", "twitter:description": DESCRIPTION}
    if space:
        picture = f"https://huggingface.co/spaces/{space}/resolve/main/docs/screenshot.jpg"
        shown |= {"og:image": picture, "twitter:image": picture, "og:url": f"https://huggingface.co/spaces/{space}"}
    tags = "".join(f'<meta property="{name}" content="{html.escape(value)}">' for name, value in shown.items())
    style = parts.STYLE + (_HERE / "page.css").read_text(encoding="utf-8")
    scripts = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.js", "connection.js", "link.js"))
    described = f'<meta name="description" content="{html.escape(DESCRIPTION)}">{tags}'
    run = "".join(f"<script>{each}</script>" for each in (texts_script(), *scripts))
    return f"{described}<style>{style}</style>{run}"


def texts_script() -> str:
    """Return the script that gives the translations to the other scripts."""
    given = json.dumps({each: texts(each) for each in LANGUAGES}, ensure_ascii=False).replace("</", "<\\/")
    return f"window.segcoreTexts = {given};\n" + (_HERE / "texts.js").read_text(encoding="utf-8")


def build(pool: ModelPool, datasets: Datasets, thumbnails: Thumbnails, counts: Path, space: str | None = None) -> Page:
    """Build the page, ready to launch. counts: the folder for the counts of evaluations. space: as in `head`."""
    with Page(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(_HEADER, apply_default_css=False)
        if space:
            gr.DuplicateButton("Duplicate this Space", size="sm", elem_id="duplicate")
        page.go_on = go_on = gr.Button("Go on", visible="hidden", elem_id="go-on")  # for connection.js
        banner = controls.html("banner")
        run_again = gr.Button(
            "Run again with the big model", visible=False, variant="primary", size="sm", elem_id="run-again"
        )
        with gr.Tabs(overflow_behavior="wrap") as tabs:  # otherwise a phone hides tabs that do not fit into one line
            with gr.Tab("Your photograph", id=links.PHOTOGRAPH) as photograph_tab:
                photograph = PhotographTab(page, pool, thumbnails, go_on)
            with gr.Tab(f"{datasets.layout} with ground truth", id=links.TRUTH) as truth_tab:
                truth = GroundTruthTab(page, truth_tab, pool, datasets, thumbnails, go_on)
            with gr.Tab("A whole set", id=links.WHOLE_SET) as set_tab:
                show = functools.partial(truth.show_images_of, tabs, links.TRUTH, by_set=True)
                whole_set = WholeSetTab(page, set_tab, pool, datasets, thumbnails, counts, show)
            with gr.Tab("Guide", id=links.GUIDE) as guide_tab:
                gr.HTML(
                    good_enough.guide(overlaps(datasets.get(SAMPLES), good_enough.IOUS)),
                    js_on_load=OVERLAP_SCRIPT,
                    apply_default_css=False,
                    elem_id="good-enough",
                )
                gr.Markdown(about(pool.limits), elem_id="about")
        truth.back.click(lambda: gr.update(selected=links.WHOLE_SET), None, tabs, **events.LIGHT)
        links.follow_tabs(
            page, tabs, dict(zip(links.TABS, (photograph_tab, truth_tab, set_tab, guide_tab), strict=True))
        )
        truth.open_link(page, tabs, links.TRUTH)
        models = [photograph.model, truth.model, whole_set.model]
        offered = {each: controls.AUTOMATIC_MODEL for each in models} | {whole_set.other_model: controls.NO_MODEL}

        def choices() -> list[dict]:
            return [gr.update(choices=[first, *pool.choices]) for first in offered.values()]

        page.load(choices, None, list(offered), **events.LIGHT)
        if not pool.offline and pool.default != catalogue.PREFERRED:
            arrived = _announce_download(page, pool, banner, run_again, models, list(offered))
            arrived.change(choices, None, list(offered), **events.LIGHT)
        Endpoints(pool, datasets).wire()
    return page


def _announce_download(
    page: Page,
    pool: ModelPool,
    banner: gr.HTML,
    run_again: gr.Button,
    models: list[gr.Dropdown],
    choosers: list[gr.Dropdown],
) -> gr.State:
    """Show the progress of the big model's download, and offer the model when it is complete.

    models: the controls that `run_again` sets. choosers: all controls that choose a model. Returns a state that changes
    when it is complete.
    """
    arrived = gr.State(False)

    def look() -> tuple:
        state = pool.fetching(catalogue.PREFERRED)
        text, running, ready = tables.download_state(
            catalogue.PREFERRED, state, here=catalogue.on_disk(catalogue.PREFERRED)
        )
        return text, gr.update(visible=ready), gr.update(active=running), ready

    timer = gr.Timer(2)
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    for event in (page.load, timer.tick):
        event(look, None, [banner, run_again, timer, arrived], **private)
    # Choosing a model starts its download, also after a failure. The timer does not go on after a failure by itself,
    # because each tick is a request, which would keep the visitor's session.
    gr.on([each.change for each in choosers], lambda: gr.update(active=True), None, timer, **private)
    run_again.click(
        lambda: (*[catalogue.PREFERRED] * len(models), gr.update(visible=False), ""),
        None,
        [*models, run_again, banner],
        **private,
    )
    return arrived
