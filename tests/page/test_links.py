"""Links to what one sees, in a real browser: the address follows the page, and the page follows the address."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from tests.helpers.browser import LONG, PHOTOGRAPH, TRUTH, drawn, panel_of, shows, unfold_more_options


def address(page):
    """What the page's address says, by name."""
    query = urlsplit(page.evaluate("location.href")).query
    return {name: values[0] for name, values in parse_qs(query).items()}


def says(page, **wanted):
    """Wait until the address says this and nothing else."""
    page.wait_for_function(
        """wanted => {
            const said = [...new URLSearchParams(location.search)].sort();
            return JSON.stringify(said) === JSON.stringify(Object.entries(JSON.parse(wanted)).sort());
        }""",
        arg=json.dumps(wanted),
        timeout=LONG,
    )


def test_a_link_to_a_sample_shows_it_with_its_settings(open_page):
    page = open_page()
    says(page)
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    says(page, sample="000000900005")
    shows(page, PHOTOGRAPH, page.get_by_label("Binary").first.check)
    shows(page, PHOTOGRAPH, page.get_by_label("Automatic threshold").first.uncheck)
    says(page, sample="000000900005", mode="binary", threshold="0.5")
    before = page.inner_text("#photograph-table"), page.inner_text("#photograph-credit")

    page.goto(page.evaluate("location.href"))
    drawn(page, PHOTOGRAPH)
    says(page, sample="000000900005", mode="binary", threshold="0.5")
    page.wait_for_function(
        """([table, credit]) => document.querySelector("#photograph-table").innerText === table
            && document.querySelector("#photograph-credit").innerText === credit""",
        arg=list(before),
        timeout=LONG,
    )
    assert page.get_by_label("Binary").first.is_checked()
    edges = page.get_by_role("checkbox", name="Sharp edges").filter(visible=True)
    assert edges.count() == 0

    page.goto(f"{page.evaluate('location.origin')}/?sample=000000900005&edges=0")
    edges.wait_for()  # a link unfolds the controls that it sets
    assert not edges.is_checked()


def test_a_link_to_an_image_with_truth_shows_the_same_scores(open_page):
    page = open_page()
    panel = panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    shows(page, TRUTH, page.get_by_role("button", name="Parrot", exact=True).filter(visible=True).click)
    says(page, tab="truth", images="samples", image="900006")
    unfold_more_options(panel)
    edges = page.get_by_role("checkbox", name="Sharp edges").filter(visible=True)
    shows(page, TRUTH, edges.check)
    says(page, tab="truth", images="samples", image="900006", edges="1")
    verdict = page.inner_text("#truth-verdict")

    page.goto(page.evaluate("location.href"))
    drawn(page, TRUTH)
    page.wait_for_function(
        "verdict => document.querySelector('#truth-verdict').innerText === verdict", arg=verdict, timeout=LONG
    )
    says(page, tab="truth", images="samples", image="900006", edges="1")
    edges.wait_for()  # unfolded, although a visitor has used it before
    assert edges.is_checked()


def look(page, viewer):
    """What the viewer shows, by the names of its data attributes."""
    shown = page.evaluate("viewer => ({ ...document.querySelector(`${viewer} .viewer`).dataset })", viewer)
    return {name: shown[name] for name in ("view", "opacity", "minimum", "names", "hidden")}


def copied_link(page, tab):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click(f"#{tab}-copy-link")
    page.get_by_text("Link copied.").filter(visible=True).wait_for(timeout=LONG)
    return page.evaluate("navigator.clipboard.readText()")


def test_a_link_shows_the_picture_as_it_was_seen(open_page):
    page = open_page()
    photograph = page.locator(PHOTOGRAPH)
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    says(page, sample="000000900005")
    photograph.get_by_text("Compare").click()
    photograph.get_by_role("button", name="Only dog").click()
    link, seen = copied_link(page, "photograph"), look(page, PHOTOGRAPH)
    assert link.endswith("/?sample=000000900005&show=compare&only=12")

    other = open_page()
    other.goto(link)
    drawn(other, PHOTOGRAPH)
    assert look(other, PHOTOGRAPH) == seen and seen["view"] == "compare"
    assert other.locator(PHOTOGRAPH).get_by_role("button", name="Only dog").get_attribute("aria-pressed") == "true"
    says(other, sample="000000900005", show="compare", only="12")
    other.reload()
    drawn(other, PHOTOGRAPH)
    assert look(other, PHOTOGRAPH) == seen

    controls = other.locator(PHOTOGRAPH)
    controls.get_by_text("Confidence").click()
    controls.get_by_role("button", name="Only dog").click()  # all again
    controls.get_by_role("button", name="dog", exact=False).first.click()  # hidden
    controls.locator("[data-control=minimum]").fill("30")
    controls.get_by_text("Overlay").click()
    controls.locator("[data-control=opacity]").fill("85")
    controls.get_by_text("Names and outlines").click()
    link, seen = copied_link(other, "photograph"), look(other, PHOTOGRAPH)
    page.goto(link)
    drawn(page, PHOTOGRAPH)
    assert look(page, PHOTOGRAPH) == seen
    assert seen == {"view": "overlay", "opacity": "85", "minimum": "30", "names": "false", "hidden": "12"}
    assert photograph.locator("[data-control=opacity]").input_value() == "85"
    assert not photograph.locator("[data-control=names]").is_checked()
    says(page, sample="000000900005", opacity="85", minimum="30", names="0", hidden="12")


def test_a_link_to_an_image_with_truth_hides_the_same_labels(open_page):
    page = open_page()
    panel_of(page, "COCO with ground truth")
    drawn(page, TRUTH)
    page.locator(f"{TRUTH} .toggle[data-group=errors]").first.click()
    page.locator(f"{TRUTH} .only[data-group=classes]").first.click()
    link, seen = copied_link(page, "truth"), look(page, TRUTH)
    assert "&only=" in link and "&hidden=errors:" in link
    other = open_page()
    other.goto(link)
    drawn(other, TRUTH)
    assert look(other, TRUTH) == seen
    panel_of(other, "Your photograph")
    drawn(other, PHOTOGRAPH)
    assert look(other, PHOTOGRAPH)["hidden"] == ""
    assert "only" not in address(other)


def test_a_link_never_names_a_visitor_s_photograph(open_page, tmp_path):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shows(page, PHOTOGRAPH, page.get_by_role("button", name="Dog", exact=True).filter(visible=True).click)
    says(page, sample="000000900005")
    own = tmp_path / "my holiday.png"
    own.write_bytes(page.locator("#photograph-samples img").first.screenshot())
    shows(page, PHOTOGRAPH, lambda: page.set_input_files("#photograph-upload input[type=file]", own))
    says(page)
    page.click("#photograph-copy-link")
    said = "It holds your settings, not your photograph. To show the picture itself, use Download."
    page.get_by_text(said).wait_for(timeout=LONG)
    assert page.evaluate("navigator.clipboard.readText()") == page.evaluate("location.href")
    assert not address(page)


def test_a_link_to_what_is_not_there_opens_the_page_all_the_same(open_page):
    page = open_page()
    url = page.evaluate("location.origin")
    for images in ("samples", "nowhere"):
        page.goto(f"{url}/?tab=truth&images={images}&image=12345")
        page.locator("#truth-notice").get_by_text("there is no image").wait_for(timeout=LONG)
    shown = "show=x-ray&opacity=101&minimum=-1&names=maybe&only=unicorn,999&hidden=,:3,errors:,12x"
    page.goto(f"{url}/?tab=nowhere&sample=none&mode=x&class=unicorn&model=none&threshold=9&{shown}")
    drawn(page, PHOTOGRAPH)
    says(page)
