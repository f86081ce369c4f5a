"""The page's translations: complete, and chosen by the browser's language."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from demo import texts
from demo.answers import photographs
from demo.markup.set_tables import behind_label
from demo.texts import LANGUAGES, answer_in, for_gradio, language_of, marked, translate, translate_html
from segcore.classes import FRIENDLY_NAMES
from segcore.inference.task import Task
from segcore.report.terms import plural
from segcore.truth.supplied import OwnTruth

ROOT = Path(__file__).parents[3]
MADE_OF_PARTS = {  # in the code
    "COCO with ground truth",
    "PASCAL VOC with ground truth",
    "I know only these",
    "I know only this thing",
}
CJK = re.compile(r"[\u4e00-\u9fff]")


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", text))


def test_every_language_has_every_text():
    german, *others = (texts.texts(each).keys() for each in LANGUAGES)
    assert len(german) > 300 and all(each == german for each in others)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_and_each_has_the_values_of_the_english_one(language):
    for english, own in texts.texts(language).items():
        assert own.strip(), english
        assert placeholders(own) == placeholders(english), english


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_key_is_written_twice(language):
    """The second would silently replace the first."""
    pairs = json.loads((ROOT / "demo" / "texts" / f"{language}.json").read_text("utf-8"), object_pairs_hook=list)
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys))


def test_the_classes_have_names_in_every_language():
    for name in FRIENDLY_NAMES[1:]:
        several = plural(name) if plural(name) != name else f"{name} (several)"
        for language in LANGUAGES:
            assert {name, several} <= texts.texts(language).keys()


def test_every_text_is_one_that_the_page_says():
    """Otherwise the English text was changed and is not translated any more."""
    files = [*(ROOT / "demo").rglob("*.py"), *(ROOT / "demo").rglob("*.js"), *(ROOT / "segcore").rglob("*.py")]
    source = "\n".join(each.read_text("utf-8") for each in files)
    source += (ROOT / "examples" / "annotations" / "instances_samples.json").read_text("utf-8")
    said = re.sub(r"""["']\s*\n\s*f?["']""", "", source)  # joins strings of several lines
    said = re.sub(r"\s+", " ", said)
    classes = {each for name in FRIENDLY_NAMES for each in (name, plural(name), f"{name} (several)")}
    pieces = {
        each.strip(): english
        for english in texts.texts("de").keys() - classes
        for each in re.split(r"\{\w+\}|[():,.;]", english)
        if len(each) > 3
    }
    left = {piece for piece in pieces if piece not in said}
    assert left <= MADE_OF_PARTS


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("fr", "fr"),
        ("es-419,es;q=0.9", "es"),
        ("zh-CN,zh;q=0.9", "zh-CN"),
        ("zh-TW,zh;q=0.9", "en"),  # other signs
        ("nl-NL,nl;q=0.9,de;q=0.8", "en"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("deu", "en"),
        ("", "en"),
        (None, "en"),
        ("../de", "en"),
    ],
)
def test_the_first_language_of_the_browser_counts(accepted, language):
    assert language_of(accepted) == language


def test_texts_with_values_are_translated_with_their_values():
    assert translate("You are next, about 3 seconds.", "de") == "Sie sind gleich dran, in etwa 3 Sekunden."
    found_none = photographs.nothing_found(Task("binary", "dog", 0.9))
    assert translate(found_none, "de").startswith("Nicht gefunden: Hund; nach anderem wurde nicht gesucht. Senken ")
    assert "avion, vélo" in translate(
        "Nothing found. I know only these 2 things: aeroplane, bicycle. Everything else is background to me.", "fr"
    )
    assert "飞机、自行车" in translate(
        "Nothing found. I know only these 2 things: aeroplane, bicycle. Everything else is background to me.", "zh-CN"
    )
    assert translate("page 1 of 12", "es") == "página 1 de 12"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("task", [Task(), Task("binary", "dog")], ids=["multiclass", "binary"])
@pytest.mark.parametrize(
    ("is_labels", "numbers"), [(True, (0, 12, 15)), (True, (0, 12, 255)), (True, (0,)), (False, (0, 1))]
)
def test_how_a_truth_was_read_is_told_in_every_language(language, task, is_labels, numbers):
    for annotated in (None, "dog.jpg"):
        truth = OwnTruth("mask.png", (1, 1), b"", is_labels, not is_labels, numbers, annotated)
        told = translate(truth.read_as(task), language)
        assert not re.search(r"Read as|VOC ids|annotations of|dog\b(?!\.jpg)|background|left out", told)
        assert annotated is None or not is_labels or annotated in told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("name", "taken_for"), [("dog", None), ("dog", "dog"), ("dog", "pottedplant"), ("background", "tv")]
)
def test_a_gallery_of_images_behind_a_score_is_named_in_every_language(language, name, taken_for):
    told = translate(behind_label(name, taken_for), language)
    assert not re.search(r"Most|Smallest|taken for|dog|potted|background", told)


def test_a_missing_text_stays_english_and_numbers_stay():
    for language in LANGUAGES:
        assert translate("No such sentence is in this page.", language) == "No such sentence is in this page."
        assert translate("34 %", language) == "34 %"
        assert translate("5 of some 7 things", language) == "5 of some 7 things"


def test_capital_letters_at_the_beginning_stay():
    assert translate("Dog", "es") == "Perro" and translate("dog", "es") == "perro"


def test_html_keeps_its_tags_and_its_escapes():
    html = '<p class="notice" role="status">Try again &amp; &lt;b&gt;</p><b>Class</b>'
    assert translate_html(html, "de") == '<p class="notice" role="status">Try again &amp; &lt;b&gt;</p><b>Klasse</b>'


def test_translations_are_escaped(monkeypatch):
    monkeypatch.setattr(texts, "texts", lambda language: {"Class": "<b>&"})
    assert translate_html("<p>Class</p>", "de") == "<p>&lt;b&gt;&amp;</p>"


def test_answers_are_translated_but_values_of_controls_are_not():
    update = {"__type__": "update", "label": "The highest scores", "choices": [("Dog", "dog")], "value": "background"}
    assert answer_in(update, "fr", "dropdown") == {
        "__type__": "update",
        "label": "Les scores les plus élevés",
        "choices": [("Chien", "dog")],
        "value": "background",
    }
    assert answer_in("background", "fr", "dropdown") == "background"
    assert answer_in("<p>background</p>", "fr", "html") == "<p>arrière-plan</p>"
    assert answer_in({"message": "Loading…"}, "es", "html") == {"message": "Cargando…"}
    assert answer_in("<p>background</p>", "en", "html") == "<p>background</p>"


def test_gradio_gets_the_texts_of_the_controls_and_never_their_values():
    config = {
        "components": [
            {"type": "radio", "props": {"label": "Mode", "choices": [("Binary", "dog")], "value": "background"}},
            {"type": "html", "props": {"value": "<p>A whole set</p>"}},
            {"type": "button", "props": {"value": "Stop"}},
            {"type": "button", "props": {"value": "No translation"}},
        ]
    }
    known = for_gradio(config)
    assert known["de"] == {
        "Mode": "Modus",
        "Binary": "Eine Klasse",
        "<p>A whole set</p>": "<p>Ein ganzer Satz</p>",
        "Stop": "Stopp",
    }
    radio, html, stop, own = (each["props"] for each in marked(config, lambda text: f"*{text}")["components"])
    assert radio == {"label": "*Mode", "choices": [("*Binary", "dog")], "value": "background"}
    assert html["value"] == "*<p>A whole set</p>" and stop["value"] == "*Stop" and own["value"] == "No translation"
    assert config["components"][0]["props"]["label"] == "Mode"


def test_chinese_is_chinese():
    known = texts.texts("zh-CN")
    exempt = {", ", "Zoom"}
    latin = [each for each, own in known.items() if not CJK.search(own) and each not in exempt]
    assert [each for each in latin if placeholders(each) == [] and "JSON" not in each] == []
