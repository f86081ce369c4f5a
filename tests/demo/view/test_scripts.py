"""The parts of the viewer's scripts that know nothing of the page, run by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

VIEW = Path(__file__).parents[3] / "demo" / "view"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def value_of(expression: str, script: str) -> Any:
    """What an expression is after one of the viewer's scripts."""
    program = f"{(VIEW / script).read_text(encoding='utf-8')}\nconsole.log(JSON.stringify({expression}));"
    done = subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_lies_under_the_pointer_stays_there_while_one_zooms_in():
    part = value_of("zoomedAt({ scale: 2, left: 0.2, top: 0.3 }, 1.5, 0.4, 0.6)", "zoom.js")
    assert part["scale"] == 3
    assert part["left"] + 0.4 / 3 == pytest.approx(0.2 + 0.4 / 2)
    assert part["top"] + 0.6 / 3 == pytest.approx(0.3 + 0.6 / 2)


@pytest.mark.parametrize("factor, scale", [(100, 16), (0.01, 1)])
def test_zooming_has_limits_and_the_picture_fills_the_view(factor, scale):
    part = value_of(f"zoomedAt({{ scale: 4, left: 0.75, top: 0 }}, {factor}, 1, 0)", "zoom.js")
    assert part["scale"] == scale
    assert 0 <= part["left"] <= 1 - 1 / scale and 0 <= part["top"] <= 1 - 1 / scale


@pytest.mark.parametrize(
    "dx, dy, left, top", [(0.2, -0.2, 0.15, 0.35), (9, 9, 0, 0), (-9, -9, 0.5, 0.5), (0, 0, 0.25, 0.25)]
)
def test_a_picture_follows_the_pointer_as_far_as_its_borders(dx, dy, left, top):
    part = value_of(f"movedBy({{ scale: 2, left: 0.25, top: 0.25 }}, {dx}, {dy})", "zoom.js")
    assert (part["left"], part["top"]) == pytest.approx((left, top))


def test_a_colour_becomes_a_little_endian_word():
    assert value_of('opaqueWord("#de1c4e")', "labels.js") == 0xFF4E1CDE


@pytest.mark.parametrize("x, y, label", [(0, 0, 1), (0.99, 0, 3), (0, 0.99, 4), (1, 1, 6), (0.5, 0.2, 2)])
def test_the_label_at_a_point(x, y, label):
    labels = "{ width: 3, height: 2, ids: [1, 2, 3, 4, 5, 6] }"
    assert value_of(f"labelAt({labels}, {x}, {y})", "labels.js") == label


def test_a_name_lies_amid_its_area():
    labels = np.zeros((60, 80), np.uint8)
    labels[10:31, 20:61] = 7
    ids = f"Uint8Array.from({labels.ravel().tolist()})"
    anchors = dict(value_of(f"[...findAnchors({ids}, 80, 60)]", "labels.js"))
    assert set(anchors) == {0, 7}
    x, y, radius = (anchors[7][key] for key in ("x", "y", "radius"))
    assert y == pytest.approx(20.5 / 60, abs=1 / 60)
    assert 30 / 80 <= x <= 51 / 80  # as far from every border as the area is high
    assert radius == pytest.approx(11 / 80, abs=1 / 80)


def test_steps_of_a_line_are_evened_out_and_its_ends_stay():
    stairs = [step // 2 for step in range(40)]
    smooth = value_of(f"[...evenedOut({stairs}, false)]", "labels.js")
    assert (smooth[0], smooth[-1]) == (stairs[0], stairs[-1])
    bends = np.abs(np.diff(smooth[8:-8], 2))
    assert bends.max() < 0.05 < np.abs(np.diff(stairs, 2)).max()


def test_a_link_says_what_differs_from_the_usual_look():
    assert value_of("queryOf(USUAL, [], [])", "look.js") == ""
    look = '{ view: "mask", opacity: 0, minimum: 5, names: false }'
    query = value_of(f'queryOf({look}, ["15"], ["errors:2", "errors:4"])', "look.js")
    assert query == "show=mask&opacity=0&minimum=5&names=0&only=15&hidden=errors%3A2%2Cerrors%3A4"
    sets = "(({ look, hidden, solo }) => [look, [...hidden].map(([group, ids]) => [group, ...ids]), [...solo]])"
    assert value_of(f"{sets}(lookIn('{query}'))", "look.js") == [
        {"view": "mask", "opacity": 0, "minimum": 5, "names": False},
        [["errors", 2, 4]],
        [["classes", 15]],
    ]


@pytest.mark.parametrize(
    "query",
    ["show=x-ray", "opacity=101&minimum=100", "opacity=-1", "opacity=", "names=1", "only=cat", "hidden=,1x,:2,errors:"],
)
def test_a_link_cannot_ask_for_a_look_that_the_viewer_does_not_have(query):
    read = f"(({{ look, hidden, solo }}) => queryOf(look, [...solo], [...hidden]))(lookIn('{query}'))"
    assert value_of(read, "look.js") == ""
