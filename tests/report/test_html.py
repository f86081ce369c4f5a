"""The report is one file that asks for nothing, says every number and shows hostile names as they are written."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from segcore.errors import ImageError
from segcore.report import differences, terms, words
from segcore.report.html import MOST_IMAGES, Picture, html_report
from tests.helpers.records import binary_record, comparison, difference, image, record, reliability, size_counts

HOSTILE = "<script>alert('&amp;\"')</script><img src=x onerror=alert(1)>"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Read(HTMLParser):
    """The elements of a page, its text, and whether every element is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if {"style", "title", "desc"} & set(self.open):
            return
        self.texts.append(text)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += text.replace("\u00a0", " ")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\u00a0", " ").split())

    def row(self, first: str) -> list[str]:
        """The first row of a table whose first cell begins so, without that cell."""
        return next(row[1:] for row in self.rows if row[0].startswith(first))


def png(color: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), color).save(file, "PNG")
    return file.getvalue()


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "JPEG")
    return file.getvalue()


def busy_record() -> dict:
    """A record with everything that can be in one."""
    objects = {"found": 2, "total": 9, "taken_for": {"dog": 7}, "by_size": size_counts(small=(2, 9))["by_size"]}
    full = record(objects=size_counts((21, 97), (30, 40), (45, 50)) | {"per_class": {"cat": objects}})
    full["skipped"] = [{"image_id": 7, "file_name": "broken.jpg", "reason": "broken.jpg is not an image"}]
    return full


# ---- what it says


def test_how_it_was_taken_is_said():
    read = Read(html_report(record()))
    assert ("h1", {}) in read.elements
    for said in (
        "DeepLabV3, ResNet-101 on val2017",
        "100 images, scored in 12 s",
        "SHA-256 586e9e4e" + "0" * 56,
        "multiclass",
        "original: scored at the photograph's own size",
        "squeezed to 520 × 520",
        "cpu, float32",
    ):
        assert said in read.text


def test_binary_mode_says_class_and_threshold():
    automatic = Read(html_report(binary_record("any"))).text
    assert "binary: any object against all else, the likeliest class decides" in automatic
    assert "IoU of any object" in automatic and "Mean IoU of the objects" not in automatic
    chosen = Read(html_report(binary_record(threshold=0.3))).text
    assert "binary: person against all else, from a probability of 0.3" in chosen


def test_headline_numbers_and_findings():
    text = Read(html_report(busy_record())).text
    assert "Mean IoU of the objects 0.56 rough; 95 % interval 0.54 to 0.58" in text
    assert "Objects found 51 % 96 of 187" in text
    assert "Boundary IoU 0.25" in text
    assert "Calibration error 0.01" in text
    for sentence in words.findings(busy_record()):
        assert sentence in text


def test_scores_of_both_kinds_with_intervals_and_explanations():
    read = Read(html_report(record()))
    name, meaning = terms.OVERALL["pixel_accuracy"]
    # 9498 of 10200 pixels are right; the image mean of these records is half of it
    assert [row for row in read.rows if row[0] == name + meaning] == [
        [name + meaning, "0.9312", "0.9112 to 0.9512", "0.4656", "0.4456 to 0.4856"]
    ]
    assert read.row("Classes counted") == ["6", "", "3.0000", ""]
    for key in record()["dataset"]:
        assert any(row[0] == "".join(terms.OVERALL[key]) for row in read.rows)


def test_scores_of_each_class():
    read = Read(html_report(busy_record()))
    assert read.row("cat") == [
        *("0.6598", "0.6398 to 0.6798", "0.7950", "0.9198", "0.7000", "0.3299", "2 of 9", "1,000", "761")
    ]
    assert read.row("aeroplane") == ["N/A", "", "N/A", "N/A", "N/A", "N/A", "", "0", "0"]


def test_a_class_of_one_image_says_so_instead_of_an_interval():
    told = busy_record()
    told["intervals"]["per_class"]["cat"]["iou"] = None
    assert Read(html_report(told)).row("cat")[:2] == ["0.6598", "one image only"]
    assert Read(html_report(busy_record() | {"intervals": None})).row("cat")[:2] == ["0.6598", ""]


def test_all_objects_belong_to_any():
    per_class = {"cat": size_counts(small=(1, 4)), "dog": size_counts(large=(4, 5))}
    objects = size_counts(small=(1, 4), large=(4, 5)) | {"per_class": per_class}
    row = Read(html_report(binary_record("any", objects=objects))).row("any object")
    assert row[6:] == ["5 of 9", "150", "150"]


@pytest.mark.slow
def test_charts_are_in_it():
    page = html_report(record())
    assert page.count('class="chart"') == 4
    assert html_report(record(), comparison=comparison()).count('class="chart"') == 5


def test_images_left_out_are_named_with_their_reason():
    assert Read(html_report(busy_record())).row("broken.jpg") == ["7", "broken.jpg is not an image"]


def test_worst_and_best_images():
    scores = record()["dataset"]
    ious = {1: 0.5, 2: None, 3: 0.1, 4: 0.9, 5: 0.7}
    rows = [image(number, scores, foreground_mean_iou=iou) for number, iou in ious.items()]
    read = Read(html_report(record(images=5, per_image=rows)))
    ids = [row[1] for row in read.rows if row[0].endswith(".jpg")]
    assert ids == ["3", "1", "4", "5", "3", "1", "5", "4", "2"]  # two worst, two best, and all of them, worst first
    assert read.row("000000000003.jpg") == ["3", "0.1000", "0.9312", "0.2500", "2 of 3"]


@pytest.mark.slow
def test_many_images_are_cut_with_a_word():
    scores = record()["dataset"]
    many = [image(number, scores, foreground_mean_iou=number / 1000) for number in range(1, MOST_IMAGES + 2)]
    read = Read(html_report(record(per_image=many)))
    assert f"The worst {MOST_IMAGES} of {MOST_IMAGES + 1} images." in read.text
    names = [row[0] for row in read.rows if row[0].endswith(".jpg")]
    assert len(names) == MOST_IMAGES + 5 + 5
    assert "The worst 500" not in Read(html_report(record(per_image=many[1:]))).text


# ---- pictures


def test_pictures_are_inside_the_file():
    pictures = [Picture(1, "a.png", "The worst, IoU 0.02.", png()), (2, "b.jpg", "The best.", jpeg())]
    read = Read(html_report(record(), pictures=pictures))
    shown = [attributes for tag, attributes in read.elements if tag == "img"]
    assert [each["src"].split(",")[0] for each in shown] == ["data:image/png;base64", "data:image/jpeg;base64"]
    assert base64.b64decode(shown[0]["src"].split(",")[1]) == png()
    assert shown[0]["alt"] == "a.png: The worst, IoU 0.02."
    assert "The worst, IoU 0.02." in read.text and "b.jpg" in read.text


def test_a_picture_of_another_kind_is_refused():
    with pytest.raises(ImageError, match="picture of 'a.svg' is neither PNG nor JPEG; give"):
        html_report(record(), pictures=[Picture(1, "a.svg", "", b"<svg onload=alert(1)>")])


# ---- a comparison


def test_comparison_is_told_at_the_end():
    two = comparison(person=difference(0.5, 0.576, 0.02))
    read = Read(html_report(record(), comparison=two))
    for sentence in differences.comparison_findings(two):
        assert sentence in read.text
    assert read.row("Model") == ["DeepLabV3, ResNet-101", "other"]
    assert read.row("Resize") == ["squeezed to 520 × 520", "shorter side 520"]
    assert not [row for row in read.rows if row[0] in ("Protocol", "Mode", "Split")]  # the same in both
    assert ["Mean IoU of the objects", "0.5000", "0.5810", "+0.081", "+0.036 to +0.126"] in read.rows
    assert read.row("1.jpg") == ["0.5000", "0.7500", "+0.250"]
    assert "Compared with another run" not in Read(html_report(record())).text


def test_comparison_with_undefined_scores():
    two = comparison(difference(None, 0.5)) | {"per_image": []}
    read = Read(html_report(record(), comparison=two))
    assert ["Mean IoU of the objects", "N/A", "0.5000", "N/A", ""] in read.rows
    assert "No comparison" in read.text


# ---- in one file, for anybody, whatever the names


def hostile_report() -> str:
    scores = record()["dataset"]
    rows = [image(number, scores, file_name=f"{number}{HOSTILE}.jpg") for number in range(1, 5)]
    hostile = record(
        per_image=rows,
        skipped=[{"image_id": 9, "file_name": HOSTILE, "reason": f"{HOSTILE} is no image"}],
        **dict.fromkeys(("model", "weights_sha256", "split", "protocol", "resize", "device", "precision"), HOSTILE),
    )
    two = comparison() | {"first": hostile, "second": hostile | {"split": f"other {HOSTILE}"}}
    two["per_image"][0]["file_name"] = HOSTILE
    return html_report(hostile, pictures=[Picture(1, HOSTILE, HOSTILE, png())], comparison=two)


@pytest.mark.slow
def test_hostile_names_are_shown_as_written():
    page = hostile_report()
    assert "<script" not in page and "<img src=x" not in page
    read = Read(page)
    assert not [tag for tag, attributes in read.elements if tag == "script" or "onerror" in attributes]
    assert read.row(HOSTILE) == ["9", f"{HOSTILE} is no image"]
    assert [attributes["alt"] for tag, attributes in read.elements if tag == "img"] == [f"{HOSTILE}: {HOSTILE}"]
    assert f"{HOSTILE} on {HOSTILE}" in read.text


def busy_report() -> str:
    pictures = [Picture(1, "a.jpg", "", jpeg())]
    return html_report(busy_record(), pictures=pictures, thumbnails={1: jpeg()}, comparison=comparison())


@pytest.mark.parametrize("report", [busy_report, hostile_report])
def test_nothing_is_asked_of_anywhere(report):
    page = report()
    assert set(re.findall(r"https?://[^\"' )]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(", page)
    for tag, attributes in Read(page).elements:
        assert tag not in ("script", "link", "iframe", "object", "base", "form")
        assert attributes.get("href", "#").startswith(("#", "data:image/")) and "srcset" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
    assert "default-src 'none'" in page


def test_ids_do_not_collide():
    ids = re.findall(r'\bid="([^"]+)"', busy_report())
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_the_report_is_the_same_each_time():
    assert busy_report() == busy_report()


def test_the_style_comes_with_the_package():
    page = html_report(record())
    assert "prefers-color-scheme: dark" in page and "@media print" in page


@pytest.mark.parametrize(
    "of",
    [
        record({}, images=0, spread=None, objects=size_counts() | {"per_class": {}}, reliability=reliability()),
        record(spread=None, objects=None, reliability=None),
        record({("cat", "cat"): 1}, images=1, spread=0),
        record({("background", "background"): 9}, spread=None, objects=size_counts() | {"per_class": {}}),
        binary_record("any", pixels=(10, 0, 0, 0)),
    ],
)
def test_reports_of_what_there_is(of):
    read = Read(html_report(of))
    assert read.text.count("In detail") == 1
    assert "None" not in read.text and "nan" not in read.text


# ---- in a browser


@pytest.mark.slow
def test_report_in_a_browser(chromium, tmp_path: Path):
    file = tmp_path / "report.html"
    file.write_text(busy_report(), encoding="utf-8")
    complaints, colors = [], set()
    for scheme in ("light", "dark"):
        page = chromium.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        page.on("console", lambda line: complaints.append(line.text))
        page.on("request", lambda it: complaints.append(it.url) if not it.url.startswith(("file:", "data:")) else 0)
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390  # tables and charts scroll by themselves
        colors.add(page.evaluate("getComputedStyle(document.querySelector('.chart text')).fill"))
        small = "[...document.querySelectorAll('.chart text')].map(it => it.getBoundingClientRect().height)"
        assert min(page.evaluate(small)) > 8
        assert page.evaluate("document.images[0].naturalWidth") == 4
    leads_to_its_images(page)
    assert complaints == []
    assert len(colors) == 2  # the charts' ink is the page's


def leads_to_its_images(page):
    """A click on a cell of the confusion matrix, or Enter on a class, shows the images behind it and no others."""
    page.get_by_role("link", name="cat called dog: 200 pixels in 1 image").click()
    shown = page.get_by_role("article")
    assert shown.locator("h3").inner_text() == "Cat called dog: 200 pixels in 1 image"
    assert "000000000001.jpg" in shown.inner_text() and "20\u00a0% of the image's cat pixels" in shown.inner_text()
    picture = shown.get_by_role("img", name="000000000001.jpg")
    assert picture.bounding_box()["width"] > 100 and shown.bounding_box()["y"] < page.viewport_size["height"]
    page.get_by_role("link", name="sofa", exact=True).focus()
    page.keyboard.press("Enter")
    assert shown.locator("h3").inner_text() == "Sofa, in 1 image"
    assert page.evaluate("document.activeElement.id") == shown.get_attribute("id")
