"""A page with three picture viewers, opened in a browser."""

from __future__ import annotations

import itertools
import socket

import numpy as np
import pytest

from demo.page import texts_script
from demo.view import pictures
from tests.helpers.viewer import (
    BAD_LINES,
    NASTY,
    PERSON,
    certainty,
    every_id_value,
    grid_value,
    leave,
    legend,
    photograph,
    scene,
    slope,
    speck,
    update,
)


@pytest.fixture(scope="module")
def address():
    """The address of a page with three viewers and a button for each kind of update."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        import gradio as gr

        from demo.view.component import picture_viewer

        photo, other = pictures.encode_photo(photograph()), pictures.encode_photo(255 - photograph())
        known = pictures.already_sent(photo)

        ticks = itertools.count()

        def with_labels(labels, **changes):
            panels = [pictures.panel("Prediction", labels, legend())]
            return pictures.view(**{"photo": known, "panels": panels, **changes})

        def burst():
            for shift in range(12):
                message = "the last" if shift == 11 else ""
                photograph_now = other if shift % 2 else photo
                yield with_labels(np.roll(scene(), shift, axis=1), photo=photograph_now, message=message)

        nothing = pictures.panel("Prediction", np.zeros((60, 80), np.uint8))
        nasty = pictures.panel(NASTY, scene(), [pictures.legend_entry(PERSON, NASTY, "#de1c4e", NASTY)])
        damaged = pictures.panel("Prediction", scene(), legend())
        damaged["labels"] = {**damaged["labels"], "width": 81}
        updates = {  # "start" never gives the same value twice, so that it always counts as a change
            "start": lambda: {**with_labels(scene(), photo=photo), "tick": next(ticks)},
            "flip": lambda: with_labels(scene()[:, ::-1].copy()),
            "judged": lambda: with_labels(
                None, panels=[pictures.panel("Prediction", scene(), legend(), certainty=certainty())]
            ),
            "nothing": lambda: with_labels(None, panels=[nothing], message="I know only these 20 things."),
            "binary": lambda: with_labels(
                None,
                panels=[pictures.panel("Prediction", scene(), [pictures.legend_entry(PERSON, "object", "#de1c4e")])],
            ),
            "unknown photo": lambda: with_labels(scene(), photo={"key": "never seen", "src": None}),
            "nasty": lambda: with_labels(None, panels=[nasty], message=NASTY),
            "speck": lambda: with_labels(speck()),
            "slope": lambda: with_labels(slope()),
            "damaged": lambda: with_labels(None, panels=[damaged]),
            "clear": lambda: None,
            "burst": burst,
        }
        with gr.Blocks() as blocks:
            value = with_labels(scene(), photo=photo)
            viewer = picture_viewer(value, elem_id="one", placeholder="Choose a photograph.")
            for name, update in updates.items():
                gr.Button(name).click(update, None, viewer, show_progress="hidden", api_visibility="private")
            picture_viewer(grid_value(photo), elem_id="grid")
            picture_viewer(every_id_value(photo), elem_id="every")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        _, url, _ = blocks.launch(
            head=f"<script>{texts_script()}</script>",
            prevent_thread_lock=True,
            server_name="127.0.0.1",
            server_port=port,
            quiet=True,
            ssr_mode=False,
        )
        yield url
        blocks.close()


@pytest.fixture(scope="module")
def opened(address, chromium):
    """Opens the page in a browser window of its own: (page, list of the console's errors and warnings)."""
    contexts = []

    def open_(*, theme="light", width=1280, height=900, **context_options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **context_options)
        contexts.append(context)
        page = context.new_page()
        complaints = []
        page.on("console", lambda line: complaints.append(line.text) if line.type in BAD_LINES else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}?__theme={theme}")
        for name in ("one", "grid", "every"):
            page.wait_for_selector(f"#{name} .viewer[data-ready=true]")
        return page, complaints

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def desktop(opened):
    return opened()


@pytest.fixture
def page(desktop):
    """The page on a desktop, everything as at the start; fails if the console says anything bad meanwhile."""
    page, complaints = desktop
    update(page, "start")
    page.locator("#one .views").get_by_text("Overlay").click()
    page.locator("#one [data-control=opacity]").fill("60")
    page.locator("#one .names input").check()
    for show_all in page.locator(":is(.show-all, [data-action=zoom-all]):visible").all():
        show_all.click()
    leave(page)
    complaints.clear()
    yield page
    assert complaints == []
