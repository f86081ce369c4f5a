"""Links to what a visitor sees: what an address means, and what it cannot."""

from __future__ import annotations

import pytest

from demo import page
from demo.answers.datasets import Datasets
from demo.server import guard
from demo.settings import EXAMPLES
from demo.tabs import links
from segcore.categories import VOC


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    return Datasets(EXAMPLES, EXAMPLES, tmp_path_factory.mktemp("fetched"))


def test_a_link_says_tab_image_and_settings(datasets):
    query = "?tab=truth&images=samples&image=900002&mode=binary&class=dog&threshold=0.3&protocol=report&edges=1"
    link = links.read(query, VOC, datasets)
    assert (link.tab, link.image, link.sample) == ("truth", ("samples", "900002"), None)
    assert link.settings == {
        "mode": "binary",
        "class": "dog",
        "automatic": False,
        "threshold": 0.3,
        "protocol": "report",
        "edges": True,
    }
    assert link.setting("photograph", "mode", "multiclass") == "multiclass"  # it is a link to the other tab


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?tab=elsewhere",
        "?mode=x&class=unicorn&model=/etc/passwd&resize=9&protocol=none&edges=2&threshold=nan",
        "?threshold=7",
        "?images=own:../..&image=1&tab=",
        "?" + "tab=truth&" * 1000,
        None,
        7,
        ["?tab=truth"],
        {"tab": "truth"},
    ],
)
def test_what_a_link_cannot_mean_is_left_out(datasets, query):
    assert links.read(query, VOC, datasets) == links.Link()


def test_a_space_names_its_own_picture_for_previews_of_links():
    head = page.head("someone/segcore")
    picture = "https://huggingface.co/spaces/someone/segcore/resolve/main/docs/screenshot.jpg"
    assert f'<meta property="og:image" content="{picture}">' in head
    assert (EXAMPLES.parent / "docs" / "screenshot.jpg").is_file()
    assert "og:image" not in page.head(None)  # nobody knows its address


def test_origins_that_are_allowed_may_show_the_page_in_a_frame():
    ancestors = guard.policy(["https://a.example"]).rpartition("frame-ancestors ")[2].split()
    assert ancestors[0] == "'self'" and ancestors[-1] == "https://a.example"
