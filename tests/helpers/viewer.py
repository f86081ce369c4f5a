"""Pictures for the viewer, and what a browser shows of them."""

from __future__ import annotations

import base64

import numpy as np

from demo.view import pictures

PERSON, DOG = 15, 12
PERSON_COLOR, DOG_COLOR = (0xDE, 0x1C, 0x4E), (0x3C, 0xF9, 0x59)
BAD_LINES = ("error", "warning")


def scene() -> np.ndarray:
    """Person on the left half, dog in the right lower quarter, background elsewhere: uint8 (60, 80)."""
    labels = np.zeros((60, 80), np.uint8)
    labels[:, :40] = PERSON
    labels[30:, 40:] = DOG
    return labels


RISE = 0.3


def slope() -> np.ndarray:
    """Person below a line that rises by RISE a pixel, so that its border goes in steps: uint8 (60, 80)."""
    rows, columns = np.mgrid[:60, :80] + 0.5
    return np.where(rows > 50 - RISE * columns, PERSON, 0).astype(np.uint8)


def speck() -> np.ndarray:
    """A person of a single pixel in a large picture."""
    labels = np.zeros((900, 1200), np.uint8)
    labels[451, 601] = PERSON
    return labels


def legend() -> list[dict]:
    return [
        pictures.legend_entry(PERSON, "person", "#de1c4e", "50 %"),
        pictures.legend_entry(DOG, "dog", "#3cf959", "25 %"),
    ]


def certainty() -> dict:
    """On the left half 90 % sure of a person, on the right half 40 % of a dog, which is the third of the names here."""
    sure = np.full((60, 80), 90, np.uint8)
    sure[:, 40:] = 40
    classes, shares = np.zeros((2, 2, 60, 80), np.uint8)
    classes[:] = np.array([1, 2], np.uint8)[:, None, None]
    classes[:, :, 40:] = np.array([2, 0], np.uint8)[:, None, None]
    shares[:] = np.stack([sure, np.where(sure == 90, 0, 35).astype(np.uint8)])
    return pictures.encode_certainty(sure, classes, shares, ["background", "person", "dog"])


def photograph() -> np.ndarray:
    across = np.linspace(0, 255, 640, dtype=np.uint8)
    return np.broadcast_to(across[None, :, None], (480, 640, 3)).copy()


EVERY_ID = np.random.default_rng(0).permutation(np.arange(37 * 53) % 256).astype(np.uint8).reshape(37, 53)
NASTY = "<img src=x onerror=\"document.title='hacked'\">"


def every_id_value(photo) -> dict:
    entries = [pictures.legend_entry(i, f"label {i}", f"#{i:02x}{255 - i:02x}80") for i in range(256)]
    return pictures.view(photo, [pictures.panel("All", EVERY_ID, entries)])


def grid_value(photo) -> dict:
    truth = np.roll(scene(), 10, axis=1)
    errors = np.where(truth == scene(), 0, 2).astype(np.uint8)
    panels = [
        pictures.panel("Photograph"),
        pictures.panel("Prediction", scene(), legend()),
        pictures.panel("Ground truth", truth, legend()),
        pictures.panel("Errors", errors, [pictures.legend_entry(2, "missed", "#2f6fe0")], group="errors", named=False),
    ]
    return pictures.view(photo, panels, layout="grid")


def viewer_data_attribute(page, name, viewer="one"):
    return page.locator(f"#{viewer} .viewer").get_attribute(f"data-{name}")


def overlay(page, viewer="one", panel=0, canvas="fill") -> np.ndarray:
    """What is painted, uint8 (h, w, 4), at the label map's own size."""
    size, encoded = (
        page.locator(f"#{viewer} .panel")
        .nth(panel)
        .locator(f"canvas.{canvas}")
        .evaluate(
            """canvas => {
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const { data } = copy.getImageData(0, 0, width, height);
            let text = "";
            for (const byte of data) text += String.fromCharCode(byte);
            return [[height, width], btoa(text)];
        }"""
        )
    )
    return np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(*size, 4)


def painted(labels, **colors) -> np.ndarray:
    """The overlay that `labels` should give: only the classes named are painted."""
    expected = np.zeros((*labels.shape, 4), np.uint8)
    for name, number, color in (("person", PERSON, PERSON_COLOR), ("dog", DOG, DOG_COLOR)):
        if colors.get(name, True):
            expected[labels == number] = (*color, 255)
    return expected


def update(page, name):
    before = int(viewer_data_attribute(page, "version"))
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_selector(f"#one .viewer[data-ready=true]:not([data-version='{before}'])")


def chip(page, number, viewer="one"):
    return page.locator(f"#{viewer} .chip[data-id='{number}']").first


def leave(page):
    page.mouse.move(2, 2)


def zoom_said(page, viewer="one") -> str:
    return page.locator(f"#{viewer} .zoom output").text_content()


def pointed_at(page, across: float, down: float) -> str:
    """The name at the pointer, at fractions of the picture on the screen."""
    box = page.locator("#one .picture").bounding_box()
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    page.wait_for_timeout(50)
    tip = page.locator("#one .tip")
    return tip.text_content() if tip.is_visible() else ""
