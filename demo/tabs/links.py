"""Links to what a visitor sees: the page's address names the tab, the image and the settings.

A link never names a visitor's own photograph, and nothing of a session. `link.js` writes the address while controls
change; here it is read again when a page is opened by such a link.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import gradio as gr

from demo.answers.datasets import Datasets
from demo.answers.samples import Sample
from demo.tabs import events
from segcore.categories import Categories
from segcore.classes import ANY_OBJECT
from segcore.evaluation.protocols import PROTOCOLS
from segcore.inference.task import BINARY, MULTICLASS
from segcore.models import catalogue

PHOTOGRAPH, TRUTH, WHOLE_SET, GUIDE = "photograph", "truth", "set", "guide"
TABS = PHOTOGRAPH, TRUTH, WHOLE_SET, GUIDE
MAX_QUERY = 2000  # characters; the page's own links have 200
_YES_OR_NO = {"1": True, "0": False}


class Link(NamedTuple):
    """What an address asks for.

    tab: one of TABS; sample: the file name of a sample, without suffix; image: the key of a dataset and the id of an
    image in it; settings: values of controls by name, of those alone that the address gives and that exist.
    """

    tab: str = PHOTOGRAPH
    sample: str | None = None
    image: tuple[str, str] | None = None
    settings: Mapping[str, Any] = {}

    def setting(self, tab: str, name: str, otherwise: Any) -> Any:
        """The value of a control of `tab`: the link's, where the link is to that tab and names it."""
        return self.settings.get(name, otherwise) if self.tab == tab else otherwise


def read(query: Any, categories: Categories, datasets: Datasets) -> Link:
    """The link in an address's query string, such as "?tab=truth&image=900002"; what it cannot mean is left out."""
    if not isinstance(query, str) or len(query) > MAX_QUERY:
        return Link()
    said = {name: values[-1] for name, values in parse_qs(query.removeprefix("?")).items()}
    allowed: dict[str, dict[str, Any]] = {
        "mode": {each: each for each in (MULTICLASS, BINARY)},
        "class": {each: each for each in (ANY_OBJECT, *categories.names[1:])},
        "edges": _YES_OR_NO,
        "tta": _YES_OR_NO,
        "model": {each: each for each in (catalogue.AUTO, *catalogue.CATALOGUE)},
        "resize": {each: each for each in ("squeeze", "aspect")},
        "protocol": {each: each for each in PROTOCOLS},
    }
    settings = {name: values[said[name]] for name, values in allowed.items() if said.get(name, "") in values}
    threshold = _threshold(said.get("threshold"))
    if threshold is not None:
        settings |= {"automatic": False, "threshold": threshold}
    tab = said.get("tab", PHOTOGRAPH)
    images = said.get("images", datasets.default)
    has_image = "image" in said and images in {key for _, key in datasets.choices}
    return Link(
        tab if tab in TABS else PHOTOGRAPH, said.get("sample"), (images, said["image"]) if has_image else None, settings
    )


def _threshold(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return round(value, 2) if 0.05 <= value <= 0.95 else None


def sample_of(link: Link, samples: Sequence[Sample]) -> Sample:
    """The sample that a link names, else the first."""
    return next((each for each in samples if each.path.stem == link.sample), samples[0])


class LinkControls:
    """The button *Copy link* of a tab, and what keeps the page's address up to date."""

    def __init__(self, tab: str) -> None:
        self.tab = tab
        with gr.Row(elem_classes="link"):
            copy = gr.Button("Copy link", size="sm", min_width=110, scale=0, elem_id=f"{tab}-copy-link")
            said = gr.HTML(elem_id=f"{tab}-link", elem_classes="made-here", apply_default_css=False)
        private: dict[str, Any] = {"api_visibility": "private"}
        copied = copy.click(None, None, said, js=f"() => segcoreLinks.copy({json.dumps(tab)})", **private)
        copied.then(None, None, said, js="() => segcoreLinks.quiet()", **private)

    def follow(self, controls: Mapping[str, Any], samples: Sequence[Sample], looked: Any) -> str:
        """Write the address after the event `looked`. controls: the tab's, by their names in a link.

        Returns the JavaScript for the load event of the tab, whose first input becomes the address's query string.
        """
        defaults = {name: each.value for name, each in controls.items()}
        known = json.dumps({"defaults": defaults, "samples": [each.path.stem for each in samples]})
        write = f"(...values) => segcoreLinks.write({json.dumps(self.tab)}, {known}, values)"
        looked.then(None, list(controls.values()), None, js=write, api_visibility="private")
        return f"(...inputs) => segcoreLinks.open({known}, inputs)"


def select_tab(page: gr.Blocks, tabs: gr.Tabs, each: Mapping[str, gr.Tab]) -> None:
    """Open the tab that the address names, and let the address name the tab that is opened."""

    def selected(query: Any) -> dict:
        said = parse_qs(str(query)[:MAX_QUERY].removeprefix("?")).get("tab", [PHOTOGRAPH])[-1]
        return gr.update(selected=said) if said in TABS[1:] else gr.skip()

    page.load(selected, gr.Textbox(visible=False), tabs, js="() => [segcoreLinks.opened]", **events.LIGHT)
    for name, tab in each.items():
        tab.select(None, None, None, js=f"() => segcoreLinks.show({json.dumps(name)})", api_visibility="private")
