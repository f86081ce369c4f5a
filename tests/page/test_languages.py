"""The page in the language of the visitor's browser."""

from __future__ import annotations

import pytest

from tests.helpers.browser import PHOTOGRAPH, TRUTH, drawn, shows

pytestmark = pytest.mark.page

# By the browser's locale: the page's language, names of tabs, controls, part of a headline, and of an error
PAGES = {
    "de-DE": ("de", ["Ihr Foto", "COCO mit Lösung", "Ein ganzer Satz", "Anleitung"],
              ["Mehrere Klassen", "Link kopieren", "Weitere Optionen"], "Gefunden: 2 Pferde, 2 Personen.",
              "Diese Seite soll offline bleiben"),
    "fr-FR": ("fr", ["Votre photo", "COCO avec corrigé", "Un lot d’images", "Guide"],
              ["Plusieurs classes", "Copier le lien", "Plus d’options"], "Trouvé : 2 chevaux, 2 personnes.",
              "Cette page est réglée pour rester hors ligne"),
    "es-ES": ("es", ["Tu foto", "COCO con solución", "Un conjunto entero", "Guía"],
              ["Varias clases", "Copiar enlace", "Más opciones"], "Encontrado: 2 caballos, 2 personas.",
              "Esta página está configurada sin conexión"),
    "zh-CN": ("zh-CN", ["你的照片", "COCO（有标准答案）", "整个图片集", "说明"],
              ["多类别", "复制链接", "更多选项"], "已找到：马（2）、人（2）。", "本页面设为离线"),
    "nl-NL": ("en", ["Your photograph", "COCO with ground truth", "A whole set", "Guide"],
              ["Multiclass", "Copy link", "More options"], "Found both horses and both people.",
              "This page is set to stay offline"),
}  # fmt: skip
ENGLISH_ONES = ["Multiclass", "Copy link", "More options", "Download", "Opacity", "Show all", "Threshold", "Model"]


@pytest.mark.parametrize("locale", PAGES)
def test_the_page_speaks_the_browsers_language(open_page, locale):
    language, tabs, controls, headline, offline = PAGES[locale]
    page = open_page(locale=locale)

    assert page.evaluate("document.documentElement.lang") == language
    for tab in tabs:
        page.get_by_role("tab", name=tab, exact=True).wait_for()
    shown = page.inner_text("body")
    assert all(each in shown for each in controls)
    assert "__i18n__" not in shown
    if language != "en":
        left_over = set(shown.splitlines()) & set(ENGLISH_ONES)
        assert left_over == set()

    page.get_by_role("tab", name=tabs[1], exact=True).click()
    drawn(page, TRUTH)
    page.get_by_text(headline).wait_for()
    page.get_by_role("tab", name=tabs[2], exact=True).click()
    page.get_by_role("tabpanel").filter(visible=True).locator("button.label-wrap").last.click()
    page.get_by_text(offline).filter(visible=True).wait_for()


def test_messages_and_errors_of_the_server_are_in_the_browsers_language(open_page):
    page = open_page(locale="de-DE")
    panel = page.get_by_role("tabpanel").filter(visible=True)
    shows(page, PHOTOGRAPH, panel.get_by_role("radio", name="Eine Klasse").check)
    panel.get_by_label("Klasse", exact=True).click()
    page.get_by_role("option", name="Kuh", exact=True).click()
    page.get_by_text("Nicht gefunden: Kuh;").wait_for()

    page.get_by_role("tab", name="Ein ganzer Satz").click()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    panel.get_by_role("button", name="Herunterladen").click()
    panel.get_by_role("button", name="Werte (CSV)").click()
    page.get_by_text("Es gibt keine Werte oder keine mehr").wait_for()


def test_links_do_not_depend_on_the_language(open_page, page_url):
    page = open_page(locale="zh-CN")
    page.goto(f"{page_url}?mode=binary&class=dog&sample=000000900005")
    drawn(page, PHOTOGRAPH)
    panel = page.get_by_role("tabpanel").filter(visible=True)
    assert panel.get_by_role("radio", name="单类别").is_checked()
    assert panel.get_by_label("类别", exact=True).input_value() == "狗"
    assert "class=dog" in page.url and "mode=binary" in page.url


@pytest.mark.parametrize("locale, label", [("de-DE", "Vergleichen mit"), ("zh-CN", "与之比较")])
def test_a_model_that_is_not_here_looks_quieter_in_every_language(open_page, locale, label):
    page = open_page(locale=locale)
    page.get_by_role("tab").nth(2).click()
    page.get_by_role("tabpanel").filter(visible=True).get_by_label(label, exact=True).click()

    here, not_here = (page.get_by_role("option", name=f"DeepLabV3{each}") for each in ("+", ", ResNet-101"))
    assert not_here.is_disabled() and here.is_enabled()
    styles = [each.evaluate("(it) => getComputedStyle(it).fontStyle") for each in (here, not_here)]
    assert styles == ["normal", "italic"]


@pytest.mark.parametrize("locale", ["de-DE", "fr-FR", "es-ES", "zh-CN"])
def test_a_phone_does_not_scroll_sideways(open_page, locale):
    page = open_page(locale=locale, viewport={"width": 390, "height": 844})
    for tab in page.get_by_role("tab").all():
        tab.click()
        panel = page.get_by_role("tabpanel").filter(visible=True)
        for folded in panel.locator("button.label-wrap").all():
            folded.click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
