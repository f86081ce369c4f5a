"""The picture viewer: its data in Python, its behaviour in a real browser."""

from __future__ import annotations

import base64
import io
import itertools
import shutil
import socket
import zlib

import matplotlib
import numpy as np
import pytest
from PIL import Image

from demo.view import pictures

CHROMIUM = shutil.which("chromium")
PERSON, DOG = 15, 12
PERSON_COLOR, DOG_COLOR = (0xDE, 0x1C, 0x4E), (0x3C, 0xF9, 0x59)
BAD_LINES = ("error", "warning")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no program named chromium on this machine")


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


# ---- the data


def test_encode_labels_is_exact_and_small():
    labels = scene()
    encoded = pictures.encode_labels(labels[:, ::-1])  # not contiguous
    raw = zlib.decompress(base64.b64decode(encoded["deflate"]))
    decoded = np.frombuffer(raw, np.uint8).reshape(encoded["height"], encoded["width"])
    np.testing.assert_array_equal(decoded, labels[:, ::-1])
    large = pictures.encode_labels(np.kron(labels, np.ones((20, 20), np.uint8)))
    assert len(large["deflate"]) < 20_000  # of 1.9 million labels


@pytest.mark.parametrize("known", ["", None, "0123456789abcdef"])
def test_a_photograph_is_left_out_where_the_page_has_it(known):
    photo = pictures.encode_photo(photograph())
    value = pictures.view(photo, [pictures.panel("Photograph")])
    assert pictures.unless_known(value, known)["photo"] == photo
    again = pictures.unless_known(value, f"{known or ''} {photo['key']}")
    assert again["photo"] == {"key": photo["key"], "src": None}
    assert again["panels"] == value["panels"] and value["photo"] == photo


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4), np.int64), ((4, 4, 1), np.uint8), ((0, 4), np.uint8)])
def test_encode_labels_errors(shape, dtype):
    labels = np.zeros(shape, dtype)
    with pytest.raises(ValueError, match="expected a uint8"):
        pictures.encode_labels(labels)


def test_encode_photo_keeps_the_picture_and_no_metadata():
    image = photograph()
    encoded = pictures.encode_photo(image)
    prefix, data = encoded["src"].split(",")
    assert prefix == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as decoded:
        assert not decoded.getexif()
        assert np.abs(np.asarray(decoded).astype(int) - image).mean() < 2
    assert pictures.encode_photo(image)["key"] == encoded["key"]
    assert pictures.encode_photo(255 - image)["key"] != encoded["key"]
    assert pictures.already_sent(encoded) == {"key": encoded["key"], "src": None}


def test_encode_photo_errors():
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        pictures.encode_photo(np.zeros((4, 4), np.uint8))


def test_legend_entry_errors():
    with pytest.raises(ValueError, match="0..255"):
        pictures.legend_entry(256, "person", "#de1c4e")
    with pytest.raises(ValueError, match="red;"):
        pictures.legend_entry(1, "person", "red; background: url(x)")


def test_view_errors():
    photo = pictures.encode_photo(photograph())
    with pytest.raises(ValueError, match="single"):
        pictures.view(photo, [pictures.panel("Prediction")], layout="row")
    with pytest.raises(ValueError, match="at least one panel"):
        pictures.view(photo, [])


# ---- the browser

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


@pytest.fixture(scope="module")
def address():
    """The address of a page with three viewers and a button for each kind of update."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        import gradio as gr

        from demo.view.component import picture_viewer

        photo, other = pictures.encode_photo(photograph()), pictures.encode_photo(255 - photograph())
        known = pictures.already_sent(photo)

        ticks = itertools.count()

        def with_labels(labels, **changes):
            panels = [pictures.panel("Prediction", labels, legend())]
            return pictures.view(**{"photo": known, "panels": panels, **changes})

        def burst():
            for shift in range(12):
                message = "the last" if shift == 11 else ""
                photograph_now = other if shift % 2 else photo
                yield with_labels(np.roll(scene(), shift, axis=1), photo=photograph_now, message=message)

        nothing = pictures.panel("Prediction", np.zeros((60, 80), np.uint8))
        nasty = pictures.panel(NASTY, scene(), [pictures.legend_entry(PERSON, NASTY, "#de1c4e", NASTY)])
        damaged = pictures.panel("Prediction", scene(), legend())
        damaged["labels"] = {**damaged["labels"], "width": 81}
        updates = {  # "start" never gives the same value twice, so that it always counts as a change
            "start": lambda: {**with_labels(scene(), photo=photo), "tick": next(ticks)},
            "flip": lambda: with_labels(scene()[:, ::-1].copy()),
            "judged": lambda: with_labels(
                None, panels=[pictures.panel("Prediction", scene(), legend(), certainty=certainty())]
            ),
            "nothing": lambda: with_labels(None, panels=[nothing], message="I know only these 20 things."),
            "unknown photo": lambda: with_labels(scene(), photo={"key": "never seen", "src": None}),
            "nasty": lambda: with_labels(None, panels=[nasty], message=NASTY),
            "speck": lambda: with_labels(speck()),
            "slope": lambda: with_labels(slope()),
            "damaged": lambda: with_labels(None, panels=[damaged]),
            "clear": lambda: None,
            "burst": burst,
        }
        with gr.Blocks() as blocks:
            value = with_labels(scene(), photo=photo)
            viewer = picture_viewer(value, elem_id="one", placeholder="Choose a photograph.")
            for name, update in updates.items():
                gr.Button(name).click(update, None, viewer, show_progress="hidden", api_visibility="private")
            picture_viewer(grid_value(photo), elem_id="grid")
            picture_viewer(every_id_value(photo), elem_id="every")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        _, url, _ = blocks.launch(
            prevent_thread_lock=True, server_name="127.0.0.1", server_port=port, quiet=True, ssr_mode=False
        )
        yield url
        blocks.close()


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(address, chromium):
    """Opens the page in a browser window of its own: (page, list of the console's errors and warnings)."""
    contexts = []

    def open_(*, theme="light", width=1280, height=900, **context_options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **context_options)
        contexts.append(context)
        page = context.new_page()
        complaints = []
        page.on("console", lambda line: complaints.append(line.text) if line.type in BAD_LINES else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}?__theme={theme}")
        for name in ("one", "grid", "every"):
            page.wait_for_selector(f"#{name} .viewer[data-ready=true]")
        return page, complaints

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def desktop(opened):
    return opened()


@pytest.fixture
def page(desktop):
    """The page on a desktop, everything as at the start; fails if the console says anything bad meanwhile."""
    page, complaints = desktop
    update(page, "start")
    page.locator("#one .views").get_by_text("Overlay").click()
    page.locator("#one [data-control=opacity]").fill("60")
    page.locator("#one .names input").check()
    for show_all in page.locator(":is(.show-all, [data-action=zoom-all]):visible").all():
        show_all.click()
    leave(page)
    complaints.clear()
    yield page
    assert complaints == []


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


@needs_chromium
def test_every_label_is_painted_exactly(page):
    drawn = overlay(page, "every")
    blue, alpha = np.full_like(EVERY_ID, 0x80), np.full_like(EVERY_ID, 255)
    expected = np.stack([EVERY_ID, 255 - EVERY_ID, blue, alpha], axis=-1)
    np.testing.assert_array_equal(drawn, expected)


@needs_chromium
def test_hide_solo_and_show_all(page):
    np.testing.assert_array_equal(overlay(page), painted(scene()))
    show_all = page.locator("#one .show-all")
    assert not show_all.is_visible()

    chip(page, PERSON).locator(".toggle").click()
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene(), person=False))
    assert viewer_data_attribute(page, "hidden") == "15"
    assert chip(page, PERSON).locator(".toggle").get_attribute("aria-pressed") == "false"
    show_all.click()
    np.testing.assert_array_equal(overlay(page), painted(scene()))

    chip(page, PERSON).get_by_role("button", name="Only person").click()
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene(), dog=False))
    assert viewer_data_attribute(page, "hidden") == "12"
    chip(page, DOG).locator(".toggle").click()  # shown beside the one that stood alone
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene()))
    chip(page, DOG).get_by_role("button", name="Only dog").click()
    chip(page, DOG).get_by_role("button", name="Only dog").click()  # again: all
    assert viewer_data_attribute(page, "hidden") == ""


@needs_chromium
def test_what_is_chosen_outlives_a_new_value(page):
    chip(page, PERSON).locator(".toggle").click()
    page.locator("#one [data-control=opacity]").fill("35")
    page.locator("#one .names input").uncheck()
    page.locator("#one .views").get_by_text("Mask only").click()
    photo = page.locator("#one .photo").get_attribute("src")
    update(page, "flip")
    np.testing.assert_array_equal(overlay(page), painted(scene()[:, ::-1], person=False))
    shown = {name: viewer_data_attribute(page, name) for name in ("hidden", "opacity", "names", "view")}
    assert shown == {"hidden": "15", "opacity": "35", "names": "false", "view": "mask"}
    assert page.locator("#one .photo").get_attribute("src") == photo  # not sent again, yet shown


@needs_chromium
def test_the_last_of_many_values_wins(page):
    page.evaluate(
        """() => {
            const decode = HTMLImageElement.prototype.decode;
            let delay = 600; // the earlier ones take the longest
            HTMLImageElement.prototype.decode = async function () {
                await decode.call(this);
                await new Promise((resolve) => setTimeout(resolve, (delay -= 50)));
                if (delay <= 0) HTMLImageElement.prototype.decode = decode;
            };
        }"""
    )
    page.get_by_role("button", name="burst", exact=True).click()
    page.locator("#one .message").get_by_text("the last").wait_for()
    page.wait_for_timeout(600)
    np.testing.assert_array_equal(overlay(page), painted(np.roll(scene(), 11, axis=1)))


@needs_chromium
def test_opacity_and_views(page):
    fill, layer, photo = (page.locator(f"#one .{name}") for name in ("fill", "layer", "photo"))
    style = "(node, name) => getComputedStyle(node)[name]"
    page.locator("#one [data-control=opacity]").fill("25")
    assert fill.evaluate(style, "opacity") == "0.25"
    assert page.locator("#one .opacity output").inner_text() == "25 %"

    page.locator("#one .views").get_by_text("Mask only").click()
    assert photo.evaluate(style, "visibility") == "hidden"
    assert fill.evaluate(style, "opacity") == "1"
    assert page.locator("#one [data-control=opacity]").is_disabled()

    page.locator("#one .views").get_by_text("Compare").click()
    assert photo.evaluate(style, "visibility") == "visible"
    assert layer.evaluate(style, "clipPath") == "inset(0px 0px 0px 50%)"
    box = page.locator("#one .picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 60)
    page.mouse.up()
    assert layer.evaluate(style, "clipPath") == "inset(0px 0px 0px 25%)"
    divider = page.get_by_role("slider", name="Divider")
    assert divider.input_value() == "25"
    divider.press("ArrowRight")
    assert layer.evaluate(style, "clipPath") == "inset(0px 0px 0px 26%)"
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)  # the button is up: nothing is dragged
    assert divider.input_value() == "26"


@needs_chromium
def test_names_and_outlines(page):
    def outlined(row, column):
        outline = overlay(page, canvas="outline")
        scale = len(outline) / len(scene())
        return outline[round(row * scale), round(column * scale), 3] > 0

    assert outlined(10, 40) and outlined(30, 60)  # person | background, background | dog
    assert not outlined(10, 10) and not outlined(10, 70)
    for number, name in ((PERSON, "person"), (DOG, "dog")):
        pill = page.locator(f"#one .pill[data-id='{number}']")
        assert pill.inner_text() == name
        at, picture = pill.bounding_box(), page.locator("#one .picture").bounding_box()
        row = int((at["y"] + at["height"] / 2 - picture["y"]) / picture["height"] * 60)
        column = int((at["x"] + at["width"] / 2 - picture["x"]) / picture["width"] * 80)
        assert scene()[row, column] == number
    chip(page, DOG).locator(".toggle").click()
    leave(page)
    assert not page.locator(f"#one .pill[data-id='{DOG}']").is_visible()
    assert not outlined(30, 60) and outlined(10, 40)
    page.locator("#one .names input").uncheck()
    assert not overlay(page, canvas="outline").any()
    assert page.locator("#one .pill:visible").count() == 0


@needs_chromium
@pytest.mark.parametrize("pixel_ratio", [1, 2])
def test_outlines_are_smooth_lines_however_far_the_picture_is_enlarged(opened, pixel_ratio):
    page, complaints = opened(device_scale_factor=pixel_ratio)
    update(page, "slope")
    outline = overlay(page, canvas="outline").astype(float)
    height, width = outline.shape[:2]
    shown = page.locator("#one .picture").bounding_box()
    assert width == pytest.approx(shown["width"] * pixel_ratio, abs=1)  # as fine as the screen
    scale = width / 80
    assert scale > 5  # steps of one pixel could not be missed

    light = outline[..., 3] * (outline[..., 0] > 128)
    assert len(np.unique(outline[..., 3])) > 20  # anti-aliased
    columns = np.arange(round(8 * scale), round(72 * scale))  # ends stay on the steps
    rows = np.arange(height)[:, None] + 0.5
    middle = (light * rows).sum(axis=0)[columns] / light.sum(axis=0)[columns] / scale
    straight = 50 - RISE * (columns + 0.5) / scale
    assert np.abs(middle - straight).max() < 0.2  # steps are 0.5 to both sides
    thickness = (light > 128).sum(axis=0)[columns] / pixel_ratio
    assert 1.5 < np.median(thickness) < 3.5  # of the screen's pixels, and not of the map's
    assert complaints == []


@needs_chromium
def test_a_single_pixel_is_named(page):
    update(page, "speck")
    at, picture = page.locator("#one .pill").bounding_box(), page.locator("#one .picture").bounding_box()
    bottom = (at["y"] + at["height"] - picture["y"]) / picture["height"]
    middle = (at["x"] + at["width"] / 2 - picture["x"]) / picture["width"]
    assert abs(middle - 0.5) < 0.01 and 0.48 < bottom < 0.502  # just above it
    assert page.get_by_role("img", name="Overlay: person 50 %", exact=True).count() == 1


@needs_chromium
def test_pointing_at_a_chip_and_at_the_picture(page):
    chip(page, DOG).locator(".toggle").hover()
    drawn = overlay(page)
    assert (drawn[scene() == DOG] == (*DOG_COLOR, 255)).all()
    rest = drawn[scene() != DOG]
    assert (rest[:, :3] == 0).all() and (rest[:, 3] > 0).all()  # dimmed
    leave(page)
    np.testing.assert_array_equal(overlay(page), painted(scene()))

    tip = page.locator("#one .tip")
    box = page.locator("#one .picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
    assert tip.is_visible() and tip.inner_text() == "dog"
    assert "under" in chip(page, DOG).get_attribute("class")
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert not tip.is_visible()  # background
    leave(page)
    assert page.locator("#one .chip.under").count() == 0


@needs_chromium
def test_chips_work_from_the_keyboard(page):
    page.locator("#one [data-action=fullscreen]").focus()
    page.keyboard.press("Tab")
    assert (overlay(page)[scene() == DOG][:, :3] == 0).all()  # focus lights the person alone
    page.keyboard.press("Space")
    page.keyboard.press("Shift+Tab")
    np.testing.assert_array_equal(overlay(page), painted(scene(), person=False))


@needs_chromium
def test_zooming_by_wheel_keeps_what_is_under_the_pointer(page):
    box = page.locator("#one .picture").bounding_box()
    x, y = box["x"] + 0.55 * box["width"], box["y"] + 0.45 * box["height"]  # background, near person and dog
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(300)
    assert zoom_said(page) == "100 %"  # the page scrolls
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_selector("#one .viewer[data-zoomed=true]")
    assert 400 < int(zoom_said(page).split()[0]) < 700
    corner = pointed_at(page, 0.45, 0.4)
    assert [corner, pointed_at(page, 0.1, 0.4), pointed_at(page, 0.55, 0.95)] == ["", "person", "dog"]
    assert overlay(page).shape == (60, 80, 4)  # still all of it: only the view has changed
    page.get_by_role("button", name="Show all of it").first.click()
    assert zoom_said(page) == "100 %"


@needs_chromium
def test_zooming_by_double_click_keys_and_buttons_and_moving(page):
    picture = page.locator("#one .picture")
    box = picture.bounding_box()
    picture.dblclick(position={"x": box["width"] / 2, "y": box["height"] / 2})
    page.wait_for_function("document.querySelector('#one .zoom output').textContent === '200 %'")
    assert pointed_at(page, 0.05, 0.05) == "person" and pointed_at(page, 0.95, 0.95) == "dog"
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
    page.mouse.up()
    assert pointed_at(page, 0.95, 0.95) == "person"  # moved as far as the picture goes
    picture.focus()
    for key, said in (("+", "300 %"), ("-", "200 %"), ("0", "100 %")):
        page.keyboard.press(key)
        page.wait_for_function("said => document.querySelector('#one .zoom output').textContent === said", arg=said)
    page.keyboard.press("=")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
    assert pointed_at(page, 0.02, 0.98) == "person" and pointed_at(page, 0.9, 0.5) == "dog"
    zoom_in = page.get_by_role("button", name="Zoom in").first
    for _ in range(6):
        zoom_in.click()
    assert zoom_said(page) == "1600 %" and zoom_in.is_disabled()
    update(page, "flip")  # of the same photograph: the place stays
    assert zoom_said(page) == "1600 %"
    page.get_by_role("button", name="burst", exact=True).click()
    page.wait_for_function("document.querySelector('#one .message').textContent === 'the last'")
    assert zoom_said(page) == "100 %"


@needs_chromium
def test_the_panels_of_a_grid_zoom_together_and_lines_stay_sharp(page):
    panels = page.locator("#grid .picture")
    before = overlay(page, "grid", 1, "outline")
    panels.nth(1).dblclick(position={"x": 5, "y": 5})
    page.wait_for_selector("#grid .viewer[data-zoomed=true]")
    transforms = {panels.nth(n).locator(".photo").evaluate("it => getComputedStyle(it).transform") for n in range(4)}
    assert len(transforms) == 1 and "matrix(2" in transforms.pop()
    after = overlay(page, "grid", 1, "outline")
    assert after.shape == before.shape  # drawn anew at the screen's size, as thick as before
    rows = (after.shape[0] // 4, after.shape[0] // 3)
    assert np.count_nonzero(after[rows[0] : rows[1], ..., 3]) <= 1.1 * np.count_nonzero(
        before[rows[0] : rows[1], ..., 3]
    )
    page.locator("#grid [data-action=zoom-all]").click()


@needs_chromium
def test_two_fingers_zoom(opened):
    page, complaints = opened(width=390, height=844, has_touch=True, is_mobile=True)
    client = page.context.new_cdp_session(page)
    page.locator("#one .picture").scroll_into_view_if_needed()
    box = page.locator("#one .picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind, apart):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 30)
    for apart in range(35, 95, 5):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    page.wait_for_selector("#one .viewer[data-zoomed=true]")
    assert 200 < int(zoom_said(page).split()[0]) < 350
    assert page.evaluate("visualViewport.scale") == 1  # the picture, not the page
    assert complaints == []


def zoom_said(page, viewer="one") -> str:
    return page.locator(f"#{viewer} .zoom output").text_content()


def pointed_at(page, across: float, down: float) -> str:
    """The name at the pointer, at fractions of the picture on the screen."""
    box = page.locator("#one .picture").bounding_box()
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    page.wait_for_timeout(50)
    tip = page.locator("#one .tip")
    return tip.text_content() if tip.is_visible() else ""


@needs_chromium
def test_confidence_is_a_heat_map_with_matplotlibs_colours(page):
    assert not page.locator("#one .views").get_by_text("Confidence").is_visible()
    update(page, "judged")
    page.locator("#one .views").get_by_text("Confidence").click()
    cividis = matplotlib.colormaps["cividis"](np.array([0.9, 0.4]), bytes=True).astype(int)
    heat = overlay(page).astype(int)
    assert np.abs(heat[:, :38] - cividis[0]).max() <= 3 and np.abs(heat[:, 42:] - cividis[1]).max() <= 3
    assert page.locator("#one .ramp").is_visible()
    assert page.get_attribute("#one canvas.fill", "aria-label").startswith("How sure the model is: person 50 %")

    update(page, "flip")  # without probabilities
    assert viewer_data_attribute(page, "view") == "overlay" and not page.locator("#one .sure").is_visible()


@needs_chromium
def test_only_what_is_sure_enough_is_shown(page):
    update(page, "judged")
    page.locator("#one .views").get_by_text("Confidence").click()
    page.locator("#one [data-control=minimum]").fill("50")
    page.wait_for_selector("#one .viewer[data-minimum='50']")
    assert not overlay(page)[:, 42:].any() and overlay(page)[:, :38, 3].all()
    page.locator("#one .views").get_by_text("Overlay").click()
    shown = painted(scene(), person=PERSON_COLOR)
    np.testing.assert_array_equal(overlay(page)[:, :38], shown[:, :38])
    assert not overlay(page)[:, 42:].any()
    pills = page.locator("#one .pill").all()
    assert [pill.inner_text() for pill in pills if pill.is_visible()] == ["person"]
    assert page.locator("#one .minimum output").inner_text() == "50 %"
    page.locator("#one [data-control=minimum]").fill("0")
    page.wait_for_selector("#one .viewer[data-minimum='0']")
    np.testing.assert_array_equal(overlay(page), painted(scene(), person=PERSON_COLOR, dog=DOG_COLOR))
    assert not page.locator("#one .sure").is_visible()


@needs_chromium
def test_pointing_tells_the_likeliest_classes(page):
    update(page, "judged")
    pointed_at(page, 0.2, 0.5)
    assert page.locator("#one .tip").inner_text().split("\n") == ["person", "person", "90 %"]
    pointed_at(page, 0.8, 0.8)
    assert page.locator("#one .tip").inner_text().split("\n") == ["dog", "dog", "40 %", "background", "35 %"]
    pointed_at(page, 0.8, 0.2)
    assert page.locator("#one .tip").inner_text().split("\n")[0] == "background"


@needs_chromium
def test_grid_points_at_the_same_place_everywhere(page):
    page.locator("#grid .stage").scroll_into_view_if_needed()
    box = page.locator("#grid .picture").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.75)  # column 44, row 45
    tips = page.locator("#grid .tip").all()
    said = [tip.inner_text() if tip.is_visible() else None for tip in tips]
    assert said == [None, "dog", "person", "missed"]
    crosses = page.locator("#grid .cross").all()
    assert all(cross.is_visible() for cross in crosses)
    lefts = [cross.evaluate("node => node.style.getPropertyValue('--x')") for cross in crosses]
    assert len(set(lefts)) == 1 and abs(float(lefts[0][:-1]) - 55) < 0.5
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert page.locator("#grid .tip").nth(2).inner_text() == "background"


@needs_chromium
def test_grid_shares_a_legend_by_group(page):
    assert page.locator("#grid .legend").count() == 2
    chip(page, PERSON, "grid").locator(".toggle").click()
    leave(page)
    np.testing.assert_array_equal(overlay(page, "grid", 1), painted(scene(), person=False))
    truth = np.roll(scene(), 10, axis=1)
    np.testing.assert_array_equal(overlay(page, "grid", 2), painted(truth, person=False))
    assert overlay(page, "grid", 3).any()
    page.locator("#grid .chip[data-group=errors] .toggle").click()
    leave(page)
    assert not overlay(page, "grid", 3).any()
    assert viewer_data_attribute(page, "hidden", "grid") == "15,errors:2"
    assert viewer_data_attribute(page, "hidden") == ""  # the other viewer is another matter
    assert not page.locator("#grid .views").get_by_text("Compare").is_visible()
    narrow = page.locator("#grid .picture").nth(1).bounding_box()["width"]
    page.get_by_role("button", name="Enlarge Prediction").click()
    assert page.locator("#grid .picture").nth(1).bounding_box()["width"] > 1.5 * narrow


@needs_chromium
def test_sentences_where_there_is_nothing_to_show(page):
    page.locator("#one .views").get_by_text("Compare").click()
    update(page, "nothing")
    assert page.locator("#one .message").inner_text() == "I know only these 20 things."
    assert page.locator("#one .photo").is_visible() and page.locator("#one .chip").count() == 0
    update(page, "unknown photo")
    assert "choose it again" in page.locator("#one .message").inner_text()
    np.testing.assert_array_equal(overlay(page), painted(scene()))
    update(page, "clear")
    assert page.locator("#one .message").inner_text() == "Choose a photograph."
    assert viewer_data_attribute(page, "empty") == "true"
    update(page, "flip")
    assert viewer_data_attribute(page, "view") == "compare"
    np.testing.assert_array_equal(overlay(page), painted(scene()[:, ::-1]))


@needs_chromium
def test_names_never_become_markup(page):
    update(page, "nasty")
    assert chip(page, PERSON).locator(".name").inner_text() == NASTY
    assert page.locator("#one .pill").first.inner_text() == NASTY
    assert page.title() != "hacked" and page.locator("#one img:not(.photo)").count() == 0


@needs_chromium
def test_damaged_labels_are_said_to_be_so(page, desktop):
    complaints = desktop[1]
    update(page, "damaged")
    assert "expected 81 x 60 labels, got 4800" in complaints.pop()
    assert "could not be shown" in page.locator("#one .message").inner_text()
    update(page, "flip")
    np.testing.assert_array_equal(overlay(page), painted(scene()[:, ::-1]))


@needs_chromium
def test_the_picture_is_described(page):
    assert page.get_by_role("img", name="Overlay: person 50 %, dog 25 %").count() == 1
    chip(page, PERSON).locator(".toggle").click()
    assert page.get_by_role("img", name="Overlay: dog 25 %").count() == 1
    assert page.get_by_role("img", name="Ground truth: person 50 %, dog 25 %").count() == 1
    assert page.get_by_role("img", name="Photograph", exact=True).count() == 1


@needs_chromium
def test_phone(opened):
    page, complaints = opened(width=390, height=844, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    stage, root = (page.locator(f"#one .{name}").bounding_box() for name in ("picture", "viewer"))
    assert stage["width"] == root["width"] and stage["y"] == root["y"]  # full width, and first
    heights = page.locator("#one :is(.views span, .toggle, .only, .names):visible").evaluate_all(
        "nodes => nodes.map(node => node.getBoundingClientRect().height)"
    )
    assert min(heights) >= 40
    tops = [each.bounding_box()["y"] for each in page.locator("#grid .picture").all()]
    assert tops == sorted(set(tops))  # stacked
    page.touchscreen.tap(stage["x"] + stage["width"] * 0.9, stage["y"] + stage["height"] * 0.6)
    assert page.locator("#one .tip").is_visible()  # stays though the finger is gone
    assert page.locator("#one .tip").inner_text() == "dog"
    page.touchscreen.tap(stage["x"] + 5, stage["y"] + stage["height"] + 90)
    assert not page.locator("#one .tip").is_visible()
    assert complaints == []


@needs_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(opened, theme):
    page, complaints = opened(theme=theme)
    texts = page.locator("#one :is(.views span, .name, .note, .only, .opacity output, .names span)")
    contrasts = texts.evaluate_all(
        """nodes => {
            const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const luminance = (color) => {
                canvas.fillStyle = color;
                canvas.fillRect(0, 0, 1, 1);
                const linear = (c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
                const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(linear);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const backdrop = (node) => {
                const color = getComputedStyle(node).backgroundColor;
                return color === "rgba(0, 0, 0, 0)" ? backdrop(node.parentElement) : color;
            };
            return nodes.map((node) => {
                const [a, b] = [luminance(getComputedStyle(node).color), luminance(backdrop(node))];
                return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            });
        }"""
    )
    assert len(contrasts) > 8 and min(contrasts) >= 4.5
    assert complaints == []
