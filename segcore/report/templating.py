"""Reports are written by Jinja templates, which escape every text where it is put in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


class Table(NamedTuple):
    """A table: the names of its columns, and rows of cells. A cell is a text, a `Swatch` or an `Explained` name."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Figure(NamedTuple):
    """A chart, as SVG, with its heading and what to know about it."""

    heading: str
    chart: str
    remark: str


class Swatch(NamedTuple):
    """A class's name beside its colour."""

    name: str
    color: str


class Explained(NamedTuple):
    """A score's name with what it means."""

    name: str
    meaning: str


def told(text: str) -> Markup:
    """Text as HTML, numbers kept on one line with their sign."""
    return Markup(str(escape(text)).replace(" %", "&nbsp;%").replace(" × ", "&nbsp;×&nbsp;"))


def render(template: str, **values: Any) -> str:
    """One of `templates/` with these values, as HTML."""
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
