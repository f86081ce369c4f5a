"""Makes the picture viewer's value, a JSON dictionary, from arrays. Nothing here imports Gradio."""

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
    """Encode a screen copy of a photograph, uint8 (H, W, 3), as {"key": its hash, "src": JPEG data URI}.

    Only for the screen: the JPEG is lossy and has no metadata. Raises ValueError for any other shape or type.
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
    """Return the photograph without its data, for a browser that already has it."""
    return {"key": photo["key"], "src": None}


def unless_known(view: Mapping, known: str | None) -> dict:
    """Return the viewer's value, without the photograph's data if the browser already has it.

    known: the keys of the browser's photographs, separated by spaces. The browser sends them, because an answer of the
    server may have been lost.
    """
    photo = view["photo"]
    return dict(view) | {"photo": already_sent(photo) if photo["key"] in (known or "").split() else photo}


def encode_labels(labels: np.ndarray) -> dict:
    """Encode a label map, uint8 (H, W), as {"width", "height", "deflate": base64 of its rows, zlib-compressed}.

    It is not an image, because browsers with protection against fingerprinting add noise to pixels that are read back
    from a canvas. Raises ValueError for any other shape or type.
    """
    if labels.dtype != np.uint8 or labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"expected a uint8 (H, W) label map, got {labels.dtype} {labels.shape}")
    height, width = labels.shape
    return {"width": width, "height": height, "deflate": _deflated(labels)}


def _deflated(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), level=1)).decode("ascii")


def encode_certainty(sure: np.ndarray, classes: np.ndarray, shares: np.ndarray, names: Iterable[str]) -> dict:
    """Encode how sure the model is on a grid of (h, w) points, as {"width", "height", "count", "names", "deflate"}.

    sure: uint8 (h, w), the probability of the shown label in percent. classes, shares: uint8 (count, h, w), the
    likeliest classes and their probabilities in percent, the likeliest first. names: of all classes. Raises ValueError
    for arrays that do not fit.
    """
    planes = [sure[None], classes, shares]
    if any(each.dtype != np.uint8 or each.shape[1:] != sure.shape for each in planes) or len(classes) != len(shares):
        raise ValueError(f"expected uint8 arrays of one size, got {[(each.dtype, each.shape) for each in planes]}")
    height, width = sure.shape
    packed = _deflated(np.concatenate(planes))
    return {"width": width, "height": height, "count": len(classes), "names": list(names), "deflate": packed}


def legend_entry(number: int, name: str, color: str, note: str = "") -> dict:
    """Return the legend entry of one painted label: its value 0..255, name, colour "#rrggbb", and a note ("34 %").

    Raises ValueError for an invalid label or colour.
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
    certainty: Mapping | None = None,
) -> dict:
    """Return one panel: the photograph with `labels`, uint8 (H, W) of its aspect ratio, over it; None: no labels.

    Labels that are not in `legend` are transparent; `unpainted` gives their names for tooltips. Panels of the same
    `group` share a legend and the hidden labels; for a label in several panels, the first panel's note is used.
    named: draw outlines and names. They would cover the thin regions of a map of errors. certainty: from
    `encode_certainty`, for the view of the model's confidence; None if the labels are not a model's.
    """
    return {
        "title": title,
        "labels": None if labels is None else encode_labels(labels),
        "legend": [dict(each) for each in legend],
        "group": group,
        "named": named,
        "unpainted": {str(number): name for number, name in (unpainted or {0: "background"}).items()},
        "certainty": certainty,
    }


def view(photo: Mapping, panels: Iterable[Mapping], *, layout: str = "single", message: str = "") -> dict:
    """Return the viewer's value. photo: from `encode_photo` or `already_sent`. message: a text below the picture.

    layout: "single" shows the first panel, large; "grid" shows all panels. Raises ValueError for another layout and for
    no panels.
    """
    panels = [dict(each) for each in panels]
    if layout not in LAYOUTS:
        raise ValueError(f"expected a layout of {LAYOUTS}, got {layout!r}")
    if not panels:
        raise ValueError("expected at least one panel, got none; an empty viewer is the value None")
    return {"photo": dict(photo), "panels": panels, "layout": layout, "message": message}
