"""The picture viewer: a `gr.HTML` that draws label maps over a photograph. Its controls do not need the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


_SCRIPTS = ("labels.js", "certainty.js", "zoom.js", "look.js", "viewer.js")
# Gradio treats this and the style sheet as templates: they must not contain a backtick, a backslash, "${" or "{{".
_SKELETON = """
<section class="viewer" aria-label="Picture" data-ready="false" data-version="0" data-empty="true">
  <div class="toolbar">
    <fieldset class="views">
      <legend>View</legend>
      <label><input type="radio" data-control="view" value="overlay" checked><span>Overlay</span></label>
      <label><input type="radio" data-control="view" value="compare"><span>Compare</span></label>
      <label><input type="radio" data-control="view" value="mask"><span>Mask only</span></label>
      <label><input type="radio" data-control="view" value="confidence"><span>Confidence</span></label>
    </fieldset>
    <label class="opacity">
      <span>Opacity</span>
      <input type="range" data-control="opacity" min="0" max="100" value="60">
      <output>60 %</output>
    </label>
    <label class="names">
      <input type="checkbox" data-control="names" checked><span>Names and outlines</span>
    </label>
    <div class="sure">
      <span class="ramp"><span>0 %</span><span class="colors" role="img"
        aria-label="Colours from dark blue, not sure, to yellow, sure"></span><span>100 % sure</span></span>
      <label class="minimum">
        <span>Show only what it is at least <output>0 %</output> sure of</span>
        <input type="range" data-control="minimum" min="0" max="99" value="0">
      </label>
    </div>
  </div>
  <div class="frame">
    <div class="stage"></div>
    <div class="zoom" role="group" aria-label="Zoom">
      <button type="button" data-action="zoom-all" aria-label="Show all of it" title="Show all of it (0)">Fit</button>
      <button type="button" data-action="zoom-out" aria-label="Zoom out" title="Zoom out (−)">−</button>
      <output>100 %</output>
      <button type="button" data-action="zoom-in" aria-label="Zoom in" title="Zoom in (+, double click)">+</button>
      <button type="button" data-action="fullscreen" aria-label="Full screen" title="Full screen">
        <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2 6V2h4m4 0h4v4m0 4v4h-4m-4 0H2v-4"/></svg>
      </button>
    </div>
  </div>
  <p class="message" role="status">Loading…</p>
  <div class="legends"></div>
</section>
"""


def picture_viewer(
    value: dict | None = None, *, placeholder: str = "The picture will appear here.", **kwargs: Any
) -> gr.HTML:
    """Make a viewer. Its value is a dictionary from `pictures.view`, or None, for which it shows `placeholder`.

    kwargs: for `gr.HTML` (elem_id, visible, ...). This is a function and not a subclass, because Gradio writes a .pyi
    file beside every component class.

    The visitor's choices (view, opacity, names, labels hidden or shown alone) stay when the value changes. The section
    `.viewer` has them as data attributes: view, opacity, minimum, names, hidden ("15,12,errors:2"), layout, zoomed,
    empty, ready ("true" once the latest value is drawn) and version (+1 with each value drawn). At first the choices
    are those of the link by which the page was opened; the event `segcore-look` tells link.js of later ones.
    """
    return gr.HTML(
        value,
        html_template=_SKELETON,
        css_template=_read("viewer.css"),
        js_on_load="".join(map(_read, _SCRIPTS)),
        apply_default_css=False,
        placeholder=placeholder,
        **kwargs,
    )
