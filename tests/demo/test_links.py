"""Links to what a visitor sees: what an address means, and what it cannot mean."""

from __future__ import annotations

import gradio as gr
import pytest

from demo import page
from demo.server import guard
from demo.settings import EXAMPLES
from demo.tabs import controls, links
from segcore.categories import VOC


@pytest.fixture
def of_truth():
    with gr.Blocks():
        task = controls.task_controls(VOC)
        return task.in_links(controls.sharp_control(False)) | {"protocol": controls.protocol_control()}


def test_a_link_has_a_tab_an_image_and_settings(of_truth):
    query = "?tab=truth&images=samples&image=900002&mode=binary&class=dog&threshold=0.3&protocol=report&edges=1"
    parameters = links.read(query)
    assert (parameters["tab"], parameters["images"], parameters["image"]) == ("truth", "samples", "900002")
    assert links.settings_in(parameters, of_truth) == {
        "mode": "binary",
        "class": "dog",
        "automatic": False,
        "threshold": 0.3,
        "protocol": "report",
        "edges": True,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "",
        "?tab=elsewhere",
        "?mode=x&class=unicorn&protocol=none&edges=2&threshold=nan",
        "?threshold=7",
        "?threshold=",
        "?" + "tab=truth&mode=binary&" * 1000,
        None,
        7,
        ["?tab=truth"],
        {"tab": "truth"},
    ],
)
def test_impossible_values_are_left_out(of_truth, query):
    parameters = links.read(query)
    assert parameters["tab"] == "photograph"
    assert links.settings_in(parameters, of_truth) == {}


def test_a_space_names_its_own_picture_for_previews_of_links():
    head = page.head("someone/segcore")
    picture = "https://huggingface.co/spaces/someone/segcore/resolve/main/docs/screenshot.jpg"
    assert f'<meta property="og:image" content="{picture}">' in head
    assert (EXAMPLES.parent / "docs" / "screenshot.jpg").is_file()
    assert "og:image" not in page.head(None)  # without a Space the address is not known


def test_origins_that_are_allowed_may_show_the_page_in_a_frame():
    ancestors = guard.policy(["https://a.example"]).rpartition("frame-ancestors ")[2].split()
    assert ancestors[0] == "'self'" and ancestors[-1] == "https://a.example"
