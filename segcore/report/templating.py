"""Renders reports with Jinja templates, which escape all inserted texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


class Table(NamedTuple):
    """A table with column names and rows of cells. A cell is a text, a `Swatch` or an `Explained`."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Figure(NamedTuple):
    """A chart as SVG, with a heading and a remark. after: the id of what follows it, for a link past its own links."""

    heading: str
    chart: str
    remark: str
    after: str | None = None


class Swatch(NamedTuple):
    """A class's name and its colour. target: the id that the name leads to, or None."""

    name: str
    color: str
    target: str | None = None


class Explained(NamedTuple):
    """A score's name and its explanation."""

    name: str
    meaning: str


def told(text: str) -> Markup:
    """Escape text for HTML. Numbers and their units stay on one line."""
    return Markup(str(escape(text)).replace(" %", "&nbsp;%").replace(" × ", "&nbsp;×&nbsp;"))


def render(template: str, **values: Any) -> str:
    """Render one of `templates/` with these values as HTML."""
    return _ENVIRONMENT.get_template(template).render(values)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("segcore.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["told"] = told
    return environment


_ENVIRONMENT = _environment()
