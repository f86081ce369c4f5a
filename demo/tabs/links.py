"""Links to what a visitor sees: the page's address holds the tab, the image and the settings.

A link never holds a visitor's own photograph or anything of a session. `link.js` writes the address when the page
changes. This module reads the address when the page is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import gradio as gr

from demo.answers.samples import Sample

PHOTOGRAPH, TRUTH, WHOLE_SET, GUIDE = "photograph", "truth", "set", "guide"  # as in link.js
TABS = PHOTOGRAPH, TRUTH, WHOLE_SET, GUIDE
MAX_QUERY = 2000  # characters; the page's own links have at most 300


def read(query: Any) -> dict[str, str]:
    """Return the parameters of an address's query string, for example of "?tab=truth&image=900002".

    "tab" is always one of TABS. A value that is no query string gives the parameters of a page without a link.
    """
    valid = isinstance(query, str) and len(query) <= MAX_QUERY
    parameters = {name: values[-1] for name, values in parse_qs(query.removeprefix("?") if valid else "").items()}
    return parameters | {"tab": parameters["tab"] if parameters.get("tab") in TABS else PHOTOGRAPH}


def settings_in(parameters: Mapping[str, str], controls: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values for `controls`, by name, that a link's parameters hold. Impossible values are left out.

    A threshold switches the control "automatic" off.
    """
    settings = {name: _value(parameters.get(name), control) for name, control in controls.items()}
    if settings.get("threshold") is not None:
        settings["automatic"] = False
    return {name: value for name, value in settings.items() if value is not None}


def _value(text: str | None, control: Any) -> Any:
    """Return the value of a control for a parameter's text; None if the control cannot have it."""
    if isinstance(control, gr.Checkbox):
        return {"1": True, "0": False}.get(text or "")
    if isinstance(control, gr.Slider):
        try:
            number = float(text or "")
        except ValueError:
            return None
        return number if control.minimum <= number <= control.maximum else None
    return text if text in [value for _, value in control.choices] else None


def sample_in(parameters: Mapping[str, str], samples: Sequence[Sample]) -> Sample:
    """Return the sample of a link, by default the first."""
    return next((each for each in samples if each.path.stem == parameters.get("sample")), samples[0])


class LinkControls:
    """The button *Copy link* of a tab, and the events that keep the page's address up to date."""

    def __init__(self, tab: str) -> None:
        self.tab = tab
        with gr.Row(elem_classes="link"):
            copy = gr.Button("Copy link", size="sm", min_width=110, scale=0, elem_id=f"{tab}-copy-link")
            notice = gr.HTML(elem_id=f"{tab}-link", elem_classes="made-here", apply_default_css=False)
        private: dict[str, Any] = {"api_visibility": "private"}
        copied = copy.click(None, None, notice, js=f"() => segcoreLinks.copy({json.dumps(tab)})", **private)
        copied.then(None, None, notice, js="() => segcoreLinks.emptyLater()", **private)

    def follow(self, controls: Mapping[str, Any], samples: Sequence[Sample], looked: Any) -> str:
        """Write the address after each event `looked`. controls: the tab's controls, by their names in a link.

        Returns the JavaScript for the tab's load events. It replaces the first input by the query string.
        """
        self._controls = controls
        defaults = {name: each.value for name, each in controls.items()}
        known = json.dumps({"defaults": defaults, "samples": [each.path.stem for each in samples]})
        write = f"(...values) => segcoreLinks.write({json.dumps(self.tab)}, {known}, values)"
        looked.then(None, list(controls.values()), None, js=write, api_visibility="private")
        return f"(...inputs) => segcoreLinks.open({known}, inputs)"

    def settings(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the values of the tab's controls that a link to this tab holds; none for a link to another tab."""
        return settings_in(parameters, self._controls) if parameters["tab"] == self.tab else {}


def follow_tabs(page: gr.Blocks, tabs: gr.Tabs, by_name: Mapping[str, gr.Tab]) -> None:
    """Open the tab of the address, and write the address when another tab is opened."""
    # In the browser, because the visitor may open another tab before an answer of the server comes.
    page.load(None, None, tabs, js="() => [segcoreLinks.opensTab]", api_visibility="private")
    for name, tab in by_name.items():
        tab.select(None, None, None, js=f"() => segcoreLinks.show({json.dumps(name)})", api_visibility="private")
