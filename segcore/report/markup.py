"""The small pieces of HTML that reports are made of; every text is escaped where it is put in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """Text that is HTML already, and put in as it is."""


def text(plain: str) -> str:
    """Text as HTML, numbers kept on one line with their sign."""
    return escape(plain).replace(" %", "&nbsp;%").replace(" × ", "&nbsp;×&nbsp;")


def section(heading: str, content: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{content}</section>\n"


def bullets(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(sentence)}</li>' for sentence in sentences)}</ul>"


def note(plain: str) -> str:
    return f'<p class="remark">{text(plain)}</p>'


def columns(*contents: str) -> str:
    """Side by side where there is room."""
    return f'<div class="columns">{"".join(f"<div>{each}</div>" for each in contents)}</div>'


def figure(heading: str, chart: str, remark: str) -> str:
    caption = f"<figcaption><h3>{escape(heading)}</h3><p>{text(remark)}</p></figcaption>"
    return f'<figure>{caption}<div class="scroll">{chart}</div></figure>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str) -> str:
    """A table that scrolls by itself where it is too wide; the first cell of each row names it."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{_cell(first)}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    return cell if isinstance(cell, Markup) else text(cell)
