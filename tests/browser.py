"""What the tests share that use the page in a real browser."""

from __future__ import annotations

PHOTOGRAPH, TRUTH = "#photograph-viewer", "#truth-viewer"


def version(page, viewer):
    return int(page.get_attribute(f"{viewer} .viewer", "data-version"))


def drawn(page, viewer, after=0):
    """Wait until the viewer has drawn something newer than version `after`."""
    page.wait_for_function(
        """([viewer, after]) => {
            const { ready, empty, version } = document.querySelector(`${viewer} .viewer`)?.dataset ?? {};
            return ready === "true" && empty === "false" && Number(version) > after;
        }""",
        arg=[viewer, after],
        timeout=60_000,
    )


def shows(page, viewer, change):
    """Do `change` and wait for the viewer to show its outcome."""
    before = version(page, viewer)
    change()
    drawn(page, viewer, after=before)


def network_runs(page, tab):
    return int(page.get_attribute(f"#{tab}-made-by .made-by", "data-network-runs"))


def row(page, tab, key):
    """The cells of one row of the tab's tables, by its key."""
    return page.locator(f"#{tab} tr[data-key='{key}'] > *").all_inner_texts()


def largest_class(page):
    return page.locator("#photograph-table tbody th").first.inner_text()


def panel_of(page, tab_name):
    page.get_by_role("tab", name=tab_name).click()
    return page.get_by_role("tabpanel").filter(visible=True)


def pixels(page, viewer):
    """The bytes of the overlay as it is painted."""
    return page.evaluate("viewer => document.querySelector(`${viewer} canvas.fill`).toDataURL()", viewer)
