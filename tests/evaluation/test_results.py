"""What an evaluation's table says, whatever names the data set and the model have."""

import csv
import io
import re

import pytest

from segcore.evaluation.results import to_csv
from tests.helpers.records import record

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula(formula):
    names = ("background", formula, "cat-and-dog=1")
    written = record({}, names=names, images=1, categories=list(names), model=f"{formula}.safetensors", split=formula)
    written["per_image"][0] |= {"file_name": formula, "image_id": formula}
    rows = list(csv.DictReader(io.StringIO(to_csv(written), newline="")))
    told = [row["name"] for row in rows if row["scope"] in ("class", "image")]
    text = "'" + re.sub(r"\s", " ", formula)
    assert told == ["background", text, "cat-and-dog=1", text]
    assert {row["model"] for row in rows} == {f"{text}.safetensors"} and {row["split"] for row in rows} == {text}
    assert rows[-1]["image_id"] == text


def test_numbers_stay_numbers():
    written = record({("background", "background"): 9}, images=1)
    written["per_image"][0]["image_id"] = -5
    assert list(csv.DictReader(io.StringIO(to_csv(written))))[-1]["image_id"] == "-5"
