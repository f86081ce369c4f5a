"""WCAG 2.2 AA, as far as a program can check it, by axe-core."""

from __future__ import annotations

import pytest

from tests.helpers.browser import TRUTH, ask_for, drawn, panel_of

axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page):
    """What is against the rules on the page as it is: the rule, the element and the reason."""
    found = axe.Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response["violations"]
    return [(each["id"], node["html"], node["failureSummary"]) for each in found for node in each["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_keeps_to_wcag(open_page, scheme):
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    panel = page.get_by_role("tabpanel").filter(visible=True)
    for name in ("Have the correct answer? Score this photo", "Download"):
        panel.get_by_role("button", name=name).click()
    panel.get_by_role("radio", name="Binary").check()
    page.locator("#photograph-viewer").get_by_text("Confidence", exact=True).click()
    assert violations(page) == []

    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    assert violations(page) == []

    ask_for(panel_of(page, "A whole set"), 2)
    page.click("#set-start")
    page.wait_for_selector("#set-worst button")
    assert violations(page) == []

    panel_of(page, "Guide")
    assert violations(page) == []
