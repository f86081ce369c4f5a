"""The drawing area of the charts, which becomes an SVG for light and dark pages."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from ..imaging.figures import matplotlib_lock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCENT = "#4f46e5"  # the default if the page does not set --accent
INK = "#010203"  # placeholder for the page's text colour while Matplotlib draws
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SVG = "http://www.w3.org/2000/svg"
TEXT, SMALL = 13, 11.5
QUIET, FAINT = 0.68, 0.16  # opacity of remarks, and of grid lines


def standing_out(color: str | None) -> str:
    red, green, blue = bytes.fromhex((color or "#a0a0a0")[1:])
    return "#ffffff" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 140 else "#111111"


def grid(axes: Axes, ticks: Mapping[str, float], side: str) -> None:
    """Draw faint grid lines with labels above, below or to the left of the axes."""
    beside: dict[str, Any] = {
        "above": {"ha": "center", "va": "bottom", "xytext": (0, 5)},
        "below": {"ha": "center", "va": "top", "xytext": (0, -7)},
        "left": {"ha": "right", "va": "center_baseline", "xytext": (-7, 0)},
    }[side]
    edge = 1.0 if side == "above" else 0.0
    for label, tick in ticks.items():
        where: tuple[float, float]
        if side == "left":
            axes.axhline(tick, color=INK, alpha=FAINT, linewidth=0.8, zorder=0)
            where, transform = (edge, tick), axes.get_yaxis_transform()
        else:
            axes.axvline(tick, color=INK, alpha=FAINT, linewidth=0.8, zorder=0)
            where, transform = (tick, edge), axes.get_xaxis_transform()
        style: dict[str, Any] = {"color": INK, "alpha": QUIET, "size": SMALL}
        axes.annotate(label, where, xycoords=transform, textcoords="offset points", **beside, **style)


def dot(axes: Axes, x: float, y: float, size: float, **style: Any) -> None:
    """Draw a disc on top, with a diameter of sqrt(size) pixels. A Matplotlib marker would have an id in the SVG."""
    from matplotlib.patches import Ellipse

    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across, down = (right - left) / axes.bbox.width, (top - bottom) / axes.bbox.height
    axes.add_patch(Ellipse((x, y), size**0.5 * across, size**0.5 * down, linewidth=0, zorder=3, **style))


def key(sheet: Sheet, left: float, top: float, entries: Sequence[tuple[str, str]]) -> None:
    for color, name in entries:
        axes = sheet.axes(left, top - 6, 12, 12, (0, 1), (0, 1))
        axes.bar(0, 1, 1, align="edge", color=color)
        sheet.text(left + 18, top, name, size=SMALL)
        left += 66


class Link(NamedTuple):
    """An area of a chart, in pixels from its top left corner, that leads to an element of the page."""

    target: str  # the element's id
    text: str
    left: float
    top: float
    width: float
    height: float


class Sheet:
    """A Matplotlib figure with a layout in pixels from its top left corner, and its SVG."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure((width / 72, height / 72), dpi=72, facecolor="none")

    def text(self, left: float, middle: float, text: str, *, size: float = TEXT, **style: Any) -> None:
        where = left / self.width, 1 - middle / self.height
        usual: dict[str, Any] = {"color": INK, "size": size, "va": "center_baseline"}
        self.figure.text(*where, text, **usual | style)

    def axes(
        self, left: float, top: float, width: float, height: float, x: tuple[float, float], y: tuple[float, float]
    ) -> Axes:
        """Add axes without a frame. x, y: the data limits (left, right) and (bottom, top)."""
        bottom = self.height - top - height
        box = left / self.width, bottom / self.height, width / self.width, height / self.height
        axes = self.figure.add_axes(box, xlim=x, ylim=y, autoscale_on=False)
        axes.set_axis_off()
        return axes

    def svg(self, title: str, description: str, links: Sequence[Link] = ()) -> str:
        """Return the drawing as SVG to embed in a page."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        for artist in self.figure.findobj():
            artist.set_clip_on(False)  # clip paths have ids, which would collide between charts in a page
        buffer = io.BytesIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(self.figure).print_svg(buffer, metadata=no_metadata)
        return _for_a_page(buffer.getvalue(), title, description, links)


@contextmanager
def sheet_of(width: float, height: float) -> Iterator[Sheet]:
    """Yield a sheet, one at a time. The caller's Matplotlib style does not affect it."""
    from matplotlib import style

    own = {"svg.fonttype": "none", "text.parse_math": False}
    with matplotlib_lock, style.context(own, after_reset=True):
        yield Sheet(width, height)


def _for_a_page(drawn: bytes, title: str, description: str, links: Sequence[Link]) -> str:
    """Remove from Matplotlib's SVG what would conflict with a page: style sheet, ids, fonts and the ink colour."""
    root = ElementTree.fromstring(drawn)
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    root.remove(next(root.iter(f"{{{_SVG}}}defs")))  # the style sheet
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        element.attrib = {name: _for_any_ink(value) for name, value in element.items() if name != "id"}
    root.attrib = {
        "xmlns": _SVG,
        "viewBox": f"0 0 {width:g} {height:g}",
        "class": "chart",
        "role": "group" if links else "img",  # an image's links would not be read out
        "aria-label": title,
        "style": f"display: block; width: 100%; height: auto; min-width: {0.85 * width:.0f}px; "
        f"max-width: {1.25 * width:.0f}px; font-family: {_FONTS}; stroke-linejoin: round; stroke-linecap: butt",
    }
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        words = ElementTree.Element(tag)
        words.text = text
        root.insert(position, words)
    root.extend(map(_anchor, links))
    return ElementTree.tostring(root, encoding="unicode")


def _anchor(link: Link) -> ElementTree.Element:
    anchor = ElementTree.Element("a", {"href": f"#{link.target}", "aria-label": link.text})
    ElementTree.SubElement(anchor, "title").text = link.text
    sides = zip(("x", "y", "width", "height"), link[2:], strict=True)
    ElementTree.SubElement(anchor, "rect", {"fill": "transparent"} | {name: f"{side:g}" for name, side in sides})
    return anchor


def _for_any_ink(value: str) -> str:
    value = value.replace(INK, "currentColor").replace(ACCENT, f"var(--accent, {ACCENT})")
    return re.sub(r"font-family: [^;]*(; )?", "", value)
