"""Charts hold the record's numbers as text, fit into any page beside one another, and draw to scale."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import matplotlib
import pytest

from segcore.categories import Categories
from segcore.classes import CLASSES, class_id
from segcore.inference.task import Task
from segcore.report import charts, sheets
from tests.helpers.records import binary_record, comparison, difference, record, reliability, size_counts

SVG = "{http://www.w3.org/2000/svg}"
OF_A_RECORD = (
    charts.per_class_chart,
    charts.confusion_chart,
    charts.object_size_chart,
    charts.reliability_chart,
)
TWO = comparison(person=difference(0.5, 0.576, 0.02), bus=difference(0.5, 0.4, 0.05), cat=difference(0.5, 0.51, 0.03))
NOTHING = record({}, images=0, spread=None, objects=size_counts() | {"per_class": {}}, reliability=reliability())


def all_charts(of: dict) -> list[str]:
    return [draw(of) for draw in OF_A_RECORD]


def texts(svg: str) -> list[str]:
    """What is printed, in the order of drawing."""
    return [each.text for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def description(svg: str) -> str:
    return ElementTree.fromstring(svg).find(f"{SVG}desc").text


def extents(svg: str, color: str) -> list[tuple[float, float]]:
    """From where to where, across, the shapes reach that are filled with this colour; in the order of drawing."""
    found = []
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        if f"fill: {color}" in path.get("style", ""):
            across = [float(x) for x in re.findall(r"[ML] (\S+)", path.get("d"))]
            found.append((min(across), max(across)))
    return found


def fills_of_class(svg: str, name: str) -> list[tuple[float, float]]:
    return extents(svg, CLASSES[class_id(name)].screen_color)


def painted(task: Task, number: int) -> str:
    """The colour of a predicted number on the picture."""
    return "#" + bytes(task.palette[number]).hex()


# ---- what the charts say


def test_per_class_says_every_number_best_first():
    svg = charts.per_class_chart(record())
    names = [text for text in texts(svg) if text in ("background", "cat", "dog", "sofa", "TV", "chair", "bus")]
    assert names == ["TV", "background", "cat", "sofa", "dog", "chair"]
    # IoU: TV 98 / 100, background 8000 / 8381, cat 700 / 1061, sofa 300 / 500, dog 400 / 740
    numbers = [text for text in texts(svg) if re.fullmatch(r"0\.\d\d", text) and text not in ("0.25", "0.75")]
    assert numbers == ["0.98", "0.95", "0.66", "0.60", "0.54", "0.00"]
    assert "the line: 95 % interval" in texts(svg)


def test_per_class_tells_those_who_do_not_see_it():
    told = description(charts.per_class_chart(record()))
    assert told.startswith(
        "Best first: TV 0.98 (0.96 to 1.00), background 0.95 (0.93 to 0.97), cat 0.66 (0.64 to 0.68)"
    )
    undefined = told.split("In neither truth nor prediction: ")[1]
    assert undefined.startswith("aeroplane, bicycle,") and undefined.endswith("and train.")
    assert "cat" not in undefined and "chair" not in undefined


def test_per_class_draws_to_scale():
    svg = charts.per_class_chart(record(spread=None))
    (cat,), (dog,) = fills_of_class(svg, "cat"), fills_of_class(svg, "dog")
    assert cat[0] == dog[0]
    assert (cat[1] - cat[0]) / (dog[1] - dog[0]) == pytest.approx((700 / 1061) / (400 / 740), rel=1e-4)
    assert "interval" not in " ".join(texts(svg))


def test_per_class_whiskers_reach_from_low_to_high():
    plain, whiskered = charts.per_class_chart(record(spread=None)), charts.per_class_chart(record(spread=0.1))
    (cat,) = fills_of_class(plain, "cat")
    across = [float(x) for x in re.findall(r"M (\S+) \S+\s+L \S+", whiskered)]
    ends = [cat[0] + (cat[1] - cat[0]) * (1 + sign * 0.1 / (700 / 1061)) for sign in (-1, 1)]
    for end in ends:
        assert min(abs(x - end) for x in across) < 0.01


@pytest.mark.parametrize("names", [("background", "disc", "cat", "box"), ("background", *(f"c{n}" for n in range(30)))])
@pytest.mark.slow
def test_own_categories_have_the_colours_of_the_picture(names):
    task = Task(categories=Categories.of(*names[1:]))
    pixels = {(name, name): 10 for name in names} | {("background", name): 5 + n for n, name in enumerate(names)}
    every = record(pixels, names=names, categories=list(names))
    for number, name in enumerate(names[1:21], start=1):
        assert len(extents(charts.per_class_chart(every), painted(task, number))) == (
            2 if number + 20 < len(names) else 1
        )
        assert charts.class_color(every, name) == painted(task, number)
    for chosen in (names[-1], "any"):
        binary = Task("binary", chosen, categories=task.categories)
        chart = charts.per_class_chart(binary_record(chosen, categories=list(names)))
        assert len(extents(chart, painted(binary, 1))) == 1


def test_confusion_prints_shares_of_the_true_pixels():
    printed = texts(charts.confusion_chart(record()))
    shares = [text for text in printed if re.fullmatch(r"\d+( %)?", text)]
    # background 8000, 60 and 40 of 8100; cat 100, 700 and 200 of 1000; dog 100, 400 of 500;
    # sofa 80, 120, 300 of 500; TV 1, 1 and 98 of 100. What is under 1 % is not printed.
    assert [int(share.split()[0]) for share in shares] == [99, 10, 70, 20, 20, 80, 16, 24, 60, 1, 1, 98]
    assert "no true pixels" in printed  # of chairs
    assert "bus" not in printed


def test_confusion_tells_right_from_wrong_by_colour():
    svg = charts.confusion_chart(record())
    right, wrong = extents(svg, "var(--accent, #4f46e5)"), extents(svg, charts.WRONG)
    assert len(right) == 5 + 1 and len(wrong) == 9 + 1  # with the key
    assert [left for left, _ in right[:-1]] == sorted(left for left, _ in right[:-1])  # a diagonal
    assert description(svg).startswith(
        "Of the true pixels: background 99 % right; cat 70 % right, 20 % called dog; chair is called, but nowhere true;"
    )


def test_confusion_in_binary_mode():
    svg = charts.confusion_chart(binary_record())
    assert [text for text in texts(svg) if text.endswith(" %")] == ["94 %", "6 %", "33 %", "67 %"]
    assert texts(svg).count("person") == 2
    assert texts(charts.confusion_chart(binary_record("any"))).count("any object") == 2


def test_object_sizes_say_their_counts():
    svg = charts.object_size_chart(record())
    assert texts(svg) == [
        *("small", "under 32 × 32 pixels", "21 of 97", "22 %"),
        *("medium", "under 96 × 96 pixels", "30 of 40", "75 %"),
        *("large", "96 × 96 pixels and more", "45 of 50", "90 %"),
    ]
    bars = extents(svg, "var(--accent, #4f46e5)")
    assert [right / 380 for _, right in bars] == pytest.approx([21 / 97, 0.75, 0.9], abs=1e-4)
    assert description(svg).startswith("small (under 32 × 32 pixels) 21 of 97 found;")


def test_a_size_without_objects():
    svg = charts.object_size_chart(record(objects=size_counts(small=(1, 2)) | {"per_class": {}}))
    assert texts(svg).count("none here") == 2
    assert "no large ones" in description(svg)


def test_reliability_says_in_words_what_it_shows():
    sure = charts.reliability_chart(record(reliability=reliability((750, 0.92, 0.8), (250, 0.55, 0.5))))
    assert description(sure) == (
        "The model is over-confident: where it says 92 %, it is right 80 % of the time. "
        "Its confidence has not been calibrated. "
        "Bin by bin: says 55 %, right 50 %; says 92 %, right 80 %."
    )
    assert "75 %" in texts(sure)  # the share of the pixels in the fullest bin, and a tick
    assert texts(sure).count("75 %") == 3
    modest = charts.reliability_chart(record(reliability=reliability((750, 0.72, 0.9))))
    assert description(modest).startswith("The model is less sure than it could be")


def test_reliability_points_lie_where_they_say():
    svg = charts.reliability_chart(record(reliability=reliability((800, 0.75, 0.5), (200, 0.25, 0.125))))
    middles, widths = [], []
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        if " C " in " ".join(path.get("d").split()):  # a disc is drawn with curves, and nothing else is
            corners = [tuple(map(float, each)) for each in re.findall(r"[MC] (\S+) (\S+)", path.get("d"))]
            lows, highs = (tuple(side(each) for each in zip(*corners, strict=True)) for side in (min, max))
            middles.append(tuple((low + high) / 2 for low, high in zip(lows, highs, strict=True)))
            widths.append(highs[0] - lows[0])
    places = [(44 + 312 * says, 26 + 312 * (1 - right)) for says, right in ((0.25, 0.125), (0.75, 0.5))]
    assert [place for middle in middles for place in middle] == pytest.approx(
        [x for each in places for x in each], abs=3
    )
    assert widths[1] > 1.5 * widths[0]


def test_differences_with_their_intervals():
    svg = charts.difference_chart(TWO)
    assert [text for text in texts(svg) if re.fullmatch(r"[+−]0\.\d{3}", text)] == [
        "+0.081",
        "+0.076",
        "+0.010",
        "−0.100",
    ]
    assert [text for text in texts(svg) if text in ("all objects", "person", "cat", "bus", "dog")] == [
        *("all objects", "person", "cat", "bus")
    ]
    assert description(svg) == (
        "all objects +0.081 (+0.036 to +0.126), person +0.076 (+0.056 to +0.096), cat +0.010 (−0.020 to +0.040), "
        "bus −0.100 (−0.150 to −0.050)."
    )


def test_only_clear_differences_are_in_colour():
    def colored(one: dict) -> list[str]:
        svg = charts.difference_chart(comparison(difference(None, None), cat=one))
        return re.findall(r"stroke: (var\(--accent, #4f46e5\)|#d55e00)", svg)

    assert set(colored(difference(0.5, 0.6, 0.05))) == {"var(--accent, #4f46e5)"}
    assert set(colored(difference(0.6, 0.5, 0.05))) == {"#d55e00"}
    assert colored(difference(0.5, 0.6, 0.2)) == []
    assert colored(difference(0.5, 0.6, None)) == []


# ---- in a page


@pytest.mark.parametrize("draw", OF_A_RECORD)
def test_chart_is_accessible_and_takes_the_pages_ink(draw):
    svg = draw(record())
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert [each.tag for each in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert root.get("aria-label") == root[0].text
    assert len(root[0].text) > 10 and len(root[1].text) > 10
    assert "currentColor" in svg
    assert sheets.INK not in svg and "#000000" not in svg
    assert "DejaVu" not in svg and "system-ui" in root.get("style")


@pytest.mark.slow
def test_a_chart_reaches_out_of_itself_nowhere():
    for svg in [*all_charts(record()), charts.difference_chart(TWO)]:
        assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
        assert "<style" not in svg and "<script" not in svg and "<!DOCTYPE" not in svg and "<?xml" not in svg
        assert not re.search(r"\bid=|href=|url\(", svg)  # no ids, so that those of several charts cannot collide


@pytest.mark.slow
def test_the_same_record_gives_the_same_charts_from_many_threads():
    alone = all_charts(record()) * 3
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda draw: draw(record()), OF_A_RECORD * 3))
    assert together == alone


def test_charts_neither_heed_nor_touch_the_callers_style():
    plain = all_charts(record())
    with matplotlib.rc_context(
        {"svg.fonttype": "path", "patch.force_edgecolor": True, "lines.dash_capstyle": "round", "font.weight": 900}
    ):
        before = dict(matplotlib.rcParams)
        assert all_charts(record()) == plain
        assert dict(matplotlib.rcParams) == before


# ---- with little to show


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "sentences"),
    [
        (
            NOTHING,
            [
                "No class has a score.",
                "No pixel was compared.",
                "There are no objects to find.",
                "The model's confidence was not compared with the truth.",
            ],
        ),
        (record(spread=None, objects=None, reliability=None), [None, None, "There are no objects to find.", None]),
        (record({("background", "background"): 9}, spread=None), [None] * 4),
        (record({("cat", "cat"): 1}), [None] * 4),
        (binary_record(), [None] * 4),
        (binary_record("any", pixels=(10, 0, 0, 0)), [None] * 4),
    ],
)
def test_charts_of_what_there_is(of, sentences):
    for svg, sentence in zip(all_charts(of), sentences, strict=True):
        assert texts(svg) == [sentence] if sentence else texts(svg)


def test_no_differences():
    assert texts(charts.difference_chart(comparison(difference(None, 0.5)))) == ["No class has a score in both."]


def test_charts_are_light_to_import():
    program = (
        "import sys; from segcore.report import charts, words;"
        "sys.exit(bool({'torch', 'matplotlib', 'gradio'} & set(sys.modules)));"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
