"""What the tests share that use the page in a real browser."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

# The same browser without a window, which takes two thirds of the processor time, or else the whole of it.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
FIREFOX_LEAST = 153  # an older one lacks more commands of Playwright's than firefox_relay.py answers
PHOTOGRAPH, TRUTH = "#photograph-viewer", "#truth-viewer"
LONG = 180_000  # milliseconds, of a machine that does much else


def launch(playwright):
    """Start the browser, which sends nothing of its own."""
    arguments = ["--no-sandbox", "--disable-background-networking"]
    return playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


def firefox_version():
    """The main version of this machine's Firefox, such as 153."""
    said = subprocess.run([FIREFOX, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Firefox (\d+)", said)[1])


def launch_firefox(playwright, folder):
    """Start the Firefox of this machine, by a program in `folder`: Playwright's arguments go behind its own."""
    program = folder / "firefox"
    command = [sys.executable, str(Path(__file__).with_name("firefox_relay.py")), FIREFOX]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o755)
    home = {**os.environ, "HOME": str(folder)}
    return playwright.firefox.launch(channel="moz-firefox", executable_path=program, env=home, timeout=LONG)


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
        timeout=LONG,
    )


def shows(page, viewer, change):
    """Do `change` and wait for the viewer to show its outcome."""
    before = version(page, viewer)
    change()
    drawn(page, viewer, after=before)


def network_runs(page, tab):
    return int(page.get_attribute(f"#{tab}-provenance .provenance", "data-network-runs"))


def row(page, tab, key):
    """The cells of one row of the tab's tables, by its key."""
    return page.locator(f"#{tab} tr[data-key='{key}'] > *").all_inner_texts()


def largest_class(page):
    return page.locator("#photograph-table tbody th").first.inner_text()


def panel_of(page, tab_name):
    page.get_by_role("tab", name=tab_name).click()
    return page.get_by_role("tabpanel").filter(visible=True)


def unfold_more_options(panel):
    """Open the controls that most visitors never touch."""
    panel.get_by_role("button", name="More options").click()


def ask_for(panel, images):
    """Choose in the tab for a whole set how many images are scored."""
    number = panel.get_by_label("number input for How many", exact=True)
    number.fill(str(images))
    number.press("Tab")


def pixels(page, viewer):
    """The bytes of the overlay as it is painted."""
    return page.evaluate("viewer => document.querySelector(`${viewer} canvas.fill`).toDataURL()", viewer)


class HeldAnswer:
    """An answer of the server's that is on its way until `release`."""

    def __init__(self, page):
        self.page, self.route, self.answer = page, None, None

    def wait(self):
        """Until the server has given it. Raises TimeoutError if nobody asked for it."""
        for _ in range(LONG // 50):
            if self.answer is not None:
                return
            self.page.wait_for_timeout(50)
        raise TimeoutError("nothing that was to be held back was answered")

    def release(self):
        self.route.fulfill(response=self.answer)


def hold_the_answer(page, name):
    """Let the next request of this name reach the server, and hold its answer back.

    name: of the function that answers, or the id or the type of the only component that the answer updates.
    """
    held = HeldAnswer(page)
    is_wanted = """([number, name]) => {
        const { api_name, outputs } = gradio_config.dependencies.find(({ id }) => id === number);
        const only = outputs.length === 1 && gradio_config.components.find(({ id }) => id === outputs[0]);
        return [String(api_name).replace(/_[0-9]+$/, ""), only?.props?.elem_id, only?.type].includes(name);
    }"""

    def handle(route):
        request = route.request
        is_other = held.route or request.method != "POST"
        if is_other or not page.evaluate(is_wanted, [request.post_data_json["fn_index"], name]):
            route.fallback()
            return
        held.route, held.answer = route, route.fetch()

    page.route(re.compile("/gradio_api/(run/|queue/join)"), handle)
    return held
