"""What a browser says about the picture that it shows, for the files that show the same."""

import gradio as gr
import pytest

from demo.answers.photographs import Visible
from demo.tabs.downloads import visible_in

SHOWN = {"hidden": "15,2,errors:2", "opacity": "40", "minimum": "70", "view": "overlay", "names": "true"}


def test_the_viewers_attributes_say_what_it_shows():
    assert visible_in(SHOWN) == Visible(frozenset([15, 2]), 0.4, 0.7, "en")
    assert visible_in(SHOWN | {"names": "false"}) == Visible(frozenset([15, 2]), 0.4, 0.7, None)
    assert visible_in(SHOWN | {"hidden": "", "opacity": "100", "minimum": "0"}) == Visible(frozenset(), 1.0, 0.0, "en")


@pytest.mark.parametrize(
    "told", [None, [], {}, "15", SHOWN | {"opacity": "101"}, SHOWN | {"hidden": "256"}, SHOWN | {"hidden": 3},
             SHOWN | {"minimum": "-1"}, SHOWN | {"opacity": None}, SHOWN | {"opacity": "x"}]
)  # fmt: skip
def test_anything_else_is_refused_in_words(told):
    with pytest.raises(gr.Error, match="not complete yet"):
        visible_in(told)
