"""What the picture viewer is shown: arrays -> one JSON-able value; no gradio, so handlers may import it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

LAYOUTS = ("single", "grid")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def encode_photo(image: np.ndarray, *, quality: int = 88) -> dict:
    """A screen copy of a photograph, uint8 (H, W, 3), as {"key": its fingerprint, "src": JPEG data URI}.

    For the screen only: the JPEG is lossy, and carries no metadata. Raises ValueError for any other shape or
    type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 (H, W, 3) photograph, got {image.dtype} {image.shape}")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    jpeg = buffer.getvalue()
    return {
        "key": hashlib.sha256(jpeg).hexdigest()[:16],
        "src": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"),
    }


def already_sent(photo: Mapping) -> dict:
    """The same photograph by its key alone, for a page that has it: only new labels need to travel."""
    return {"key": photo["key"], "src": None}


def unless_known(view: Mapping, known: str | None) -> dict:
    """A viewer's value without its photograph where that is among those that the page has. known: their keys, with
    spaces between, as `KNOWN` in the browser gives them: what was sent may have been lost on its way.
    """
    photo = view["photo"]
    return dict(view) | {"photo": already_sent(photo) if photo["key"] in (known or "").split() else photo}


def encode_labels(labels: np.ndarray) -> dict:
    """A label map, uint8 (H, W), as {"width", "height", "deflate": base64 of its rows, zlib-compressed}.

    Not an image on purpose: browsers that guard against fingerprinting add noise to pixels read back from a
    canvas, and a label is an exact number. Raises ValueError for any other shape or type.
    """
    if labels.dtype != np.uint8 or labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"expected a uint8 (H, W) label map, got {labels.dtype} {labels.shape}")
    height, width = labels.shape
    packed = zlib.compress(np.ascontiguousarray(labels), level=1)
    return {"width": width, "height": height, "deflate": base64.b64encode(packed).decode("ascii")}


def legend_entry(number: int, name: str, color: str, note: str = "") -> dict:
    """One label that is painted: its value 0..255 in the map, its name, "#rrggbb", and a short note ("34 %").

    Raises ValueError for a label or a colour that is neither.
    """
    if not 0 <= number <= 255:
        raise ValueError(f"expected a label of 0..255, got {number}")
    if not _COLOR.fullmatch(color):
        raise ValueError(f'expected a colour like "#de1c4e", got {color!r}')
    return {"id": int(number), "name": name, "color": color, "note": note}


def panel(
    title: str,
    labels: np.ndarray | None = None,
    legend: Iterable[Mapping] = (),
    *,
    group: str = "classes",
    unpainted: Mapping[int, str] | None = None,
    named: bool = True,
) -> dict:
    """One picture: the photograph with `labels`, uint8 (H, W) of its aspect, over it; None shows it plain.

    Labels that are not in `legend` stay transparent; `unpainted` names them for whoever points at one. Panels
    of one `group` share a legend and what is hidden in it; a label in several has the first one's note.
    `named=False` leaves out outlines and names: they would cover regions as thin as a map of errors has.
    """
    return {
        "title": title,
        "labels": None if labels is None else encode_labels(labels),
        "legend": [dict(each) for each in legend],
        "group": group,
        "named": named,
        "unpainted": {str(number): name for number, name in (unpainted or {0: "background"}).items()},
    }


def view(photo: Mapping, panels: Iterable[Mapping], *, layout: str = "single", message: str = "") -> dict:
    """The viewer's value: `photo` from `encode_photo` or `already_sent`, `message` a sentence for below it.

    "single" shows the first panel, large; "grid" shows all side by side. Raises ValueError for another layout
    or no panel.
    """
    panels = [dict(each) for each in panels]
    if layout not in LAYOUTS:
        raise ValueError(f"expected a layout of {LAYOUTS}, got {layout!r}")
    if not panels:
        raise ValueError("expected at least one panel, got none; an empty viewer is the value None")
    return {"photo": dict(photo), "panels": panels, "layout": layout, "message": message}
