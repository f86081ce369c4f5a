"""WCAG 2.2 AA, as far as a program can check it, by axe-core."""

from __future__ import annotations

import pytest

from tests.helpers.browser import TRUTH, ask_for, drawn, panel_of

axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page, colors="none"):
    """What is against the rules on the page as it is: the rule, the element and the reason.

    colors: "active" if the system forces its own colours, such as Windows with high contrast.
    """
    page.emulate_media(forced_colors=colors)
    found = axe.Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response["violations"]
    return [(each["id"], node["html"], node["failureSummary"]) for each in found for node in each["nodes"]]


def keeps_to_wcag(page, scheme):
    """Whether nothing is against the rules, in the light page also with forced colours."""
    assert violations(page) == []
    if scheme == "light":
        assert violations(page, "active") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_keeps_to_wcag(open_page, scheme):
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    panel = page.get_by_role("tabpanel").filter(visible=True)
    for name in (
        "Several photographs at once",
        "Have the correct answer? Score this photo",
        "More options",
        "Download",
    ):
        panel.get_by_role("button", name=name).click()
    panel.get_by_role("radio", name="Binary").check()
    page.locator("#photograph-viewer").get_by_text("Confidence", exact=True).click()
    keeps_to_wcag(page, scheme)

    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    keeps_to_wcag(page, scheme)

    ask_for(panel_of(page, "A whole set"), 2)
    page.click("#set-start")
    page.wait_for_selector("#set-worst button")
    keeps_to_wcag(page, scheme)

    panel_of(page, "Guide")
    keeps_to_wcag(page, scheme)


# Controls that a reader can see but not reach: beyond the page's sides, or under something else.
OUT_OF_REACH = """() => [...document.querySelectorAll("button, select, textarea, [role=tab], input")]
    .filter((it) => it.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && it.offsetWidth > 2)
    .filter((it) => {
        it.scrollIntoView({ block: "center", behavior: "instant" });
        const { left, right, top, width, height } = it.getBoundingClientRect();
        const hit = document.elementFromPoint(left + width / 2, top + height / 2);
        const reached = hit && (it.contains(hit) || hit.contains(it));
        return left < -1 || right > innerWidth + 1 || !reached;
    })
    .map((it) => it.outerHTML.slice(0, 200))"""


def test_at_200_percent_no_control_is_lost(open_page):
    page = open_page(viewport={"width": 640, "height": 450}, device_scale_factor=2)  # 1280 x 900, enlarged
    for tab in ("Your photograph", "COCO with ground truth", "A whole set", "Guide"):
        panel_of(page, tab)
        if tab == "COCO with ground truth":
            drawn(page, TRUTH)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab
        assert page.evaluate(OUT_OF_REACH) == [], tab
