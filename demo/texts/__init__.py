"""The page in other languages. The English text is the key, and the fallback for all that has no translation.

Each file of this folder, such as `de.json`, holds one language. A key with values, such as "{title} is here.", also
translates a sentence that was made from it. So code writes English, and the page translates what it sends.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from html import escape, unescape
from pathlib import Path
from typing import Any

ENGLISH = "en"
LANGUAGES = ("de", "fr", "es", "zh-CN")  # as Gradio's front end names them
_VALUE = re.compile(r"\{(\w+)\}")
_NUMBERS = "ahead count done failed found most number page pages size total".split()  # names of values
_IN_HTML = re.compile(r'(?<=>)[^<>]*[^<>\s][^<>]*(?=<)|(?<=aria-label=")[^"]+(?=")')
_SHOWN = ("label", "info", "placeholder")  # properties of Gradio's components that hold texts
_SHOWS_VALUE = ("button", "duplicatebutton", "html", "markdown")  # components whose value is a text of the page


def language_of(accepted: str | None) -> str:
    """Return the language of the page for a header Accept-Language. Its first language counts, as in Gradio's page."""
    first = re.split("[,;]", accepted or "")[0].strip().lower()
    known = {each.lower(): each for each in LANGUAGES}
    return known.get(first) or known.get(first.partition("-")[0]) or ENGLISH


@functools.cache
def texts(language: str) -> Mapping[str, str]:
    """Return the translations of a language by their English texts; none for English."""
    if language == ENGLISH:
        return {}
    return json.loads((Path(__file__).parent / f"{language}.json").read_text(encoding="utf-8"))


@functools.cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Return the texts with values and words as patterns, the one with the most words first."""
    words = {key: _VALUE.sub("", key) for key in texts(language) if _VALUE.search(key)}
    with_words = [key for key, own in words.items() if any(map(str.isalpha, own))]
    return [(_pattern(key), texts(language)[key]) for key in sorted(with_words, key=lambda key: -len(words[key]))]


def _pattern(key: str) -> re.Pattern[str]:
    parts = _VALUE.split(key)  # text, name, text, name, ..., text
    values = {name: r"[\d.,]+(?: MB)?" if name in _NUMBERS else ".+?" for name in parts[1::2]}
    named = [f"(?P<{each}>{values[each]})" if at % 2 else re.escape(each) for at, each in enumerate(parts)]
    return re.compile("".join(named), re.DOTALL)


def translate(text: str, language: str) -> str:
    """Return a text in a language; the English text itself if there is no translation.

    Values of a text, and the parts of a list, are translated too. A capital letter at the beginning stays one.
    """
    known = texts(language)
    if not known:
        return text
    if text in known:
        return known[text]
    small = text[:1].lower() + text[1:]
    if small in known:
        return known[small][:1].upper() + known[small][1:]
    for pattern, translated in _patterns(language):
        if match := pattern.fullmatch(text):
            return translated.format(**{name: translate(value, language) for name, value in match.groupdict().items()})
    if ", " in text:
        parts = text.split(", ")
        return joined([known.get(each, each) for each in parts], language) if known.keys() & set(parts) else text
    return text


def joined(words: list[str], language: str) -> str:
    """Join words of a language to a list."""
    return texts(language).get(", ", ", ").join(words)


def filled(text: str, language: str, **values: Any) -> str:
    """Return a text with values, which must be in the language already."""
    return texts(language).get(text, text).format(**values)


def translate_html(html: str, language: str) -> str:
    """Return HTML in which each text between two tags, and each name for screen readers, is translated."""
    return _IN_HTML.sub(lambda text: _text_in_html(text.group(), language), html)


def _text_in_html(text: str, language: str) -> str:
    own = " ".join(unescape(text).split())
    translated = translate(own, language)
    if translated == own:
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return before + escape(translated) + after


def answer_in(value: Any, language: str, kind: str) -> Any:
    """Return the value of an output in a language. kind: of its component. Values of controls do not change.

    It may be text, HTML, a picture viewer's dictionary, or an update of a component's properties.
    """
    if language == ENGLISH:
        return value
    if isinstance(value, str):
        return _in(value, language) if kind in _SHOWS_VALUE else value
    if not isinstance(value, dict):
        return value
    if value.get("__type__") != "update":
        return value | {"message": translate(value["message"], language)} if value.get("message") else value
    changed: dict[str, Any] = {
        name: translate(value[name], language) for name in _SHOWN if isinstance(value.get(name), str)
    }
    if value.get("choices"):
        changed["choices"] = [(translate(text, language), key) for text, key in value["choices"]]
    if "value" in value:
        changed["value"] = answer_in(value["value"], language, kind)
    return value | changed


def for_gradio(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the translations of all texts that Gradio shows, by language, for `gr.I18n`. config: of the page."""
    shown: list[str] = []
    _with_texts(config, lambda text: shown.append(text) or text)  # type: ignore[func-returns-value]
    return {each: {text: own for text in shown if (own := _in(text, each)) != text} for each in LANGUAGES}


@functools.lru_cache(maxsize=4096)  # more than the page has, in all languages
def _in(text: str, language: str) -> str:
    return translate_html(text, language) if "<" in text else translate(text, language)


def marked(config: Mapping[str, Any], mark: Callable[[str], str]) -> dict[str, Any]:
    """Return the page's config in which every text that has a translation is marked, so that Gradio translates it."""
    return _with_texts(config, lambda text: mark(text) if any(_in(text, each) != text for each in LANGUAGES) else text)


def _with_texts(config: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a copy of the config with its texts changed. The values of controls stay: they depend on no language."""

    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) and value else value

    components = []
    for component in config["components"]:
        props = dict(component["props"])
        names = (*_SHOWN, "value") if component["type"] in _SHOWS_VALUE else _SHOWN
        props |= {name: changed(props[name]) for name in names if name in props}
        if props.get("choices"):
            props["choices"] = [(changed(text), value) for text, value in props["choices"]]
        components.append(component | {"props": props})
    return {**config, "components": components}
