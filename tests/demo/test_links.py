"""Links to what a visitor sees: what an address means, and what it cannot."""

from __future__ import annotations

import pytest

from demo.answers.datasets import Datasets
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
