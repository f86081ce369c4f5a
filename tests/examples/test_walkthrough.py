"""The notebook of the examples runs as it is, offline, and what it prints is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segcore.cli import main
from segcore.cli.common import DONE

pytestmark = pytest.mark.slow

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "walkthrough.ipynb"
IMAGE_ID = 900001


@pytest.fixture(scope="module")
def executed(no_downloads):
    """The notebook after a run from its own folder, as Jupyter runs it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}}
    )
    client.execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


@pytest.fixture(scope="module")
def record(no_downloads, tmp_path_factory):
    """What the command line says of the same photographs."""
    file = tmp_path_factory.mktemp("scores") / "scores.json"
    assert main.main(["evaluate", "--dataset", str(EXAMPLES), "--json", str(file)]) == DONE
    return json.loads(file.read_text())


def printed(outputs: list) -> str:
    return "".join(each.text for each in outputs if each.output_type == "stream" and each.name == "stdout")


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers that the groups of `pattern` find."""
    found = re.search(pattern, text)
    assert found, f"{pattern} is not in:\n{text}"
    return [float(each.replace(",", "")) for each in found.groups()]


def test_committed_notebook_is_valid_and_has_no_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert notebook.nbformat == 4
    for cell in notebook.cells:
        assert not set(cell.metadata), "an editor's traces"
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("folder", [".", "examples"])
def test_first_cell_finds_segcore(folder):
    first = next(cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code")
    check = "\nimport segcore; print(segcore.__file__, examples)"
    command = [sys.executable, "-I", "-c", first.source + check]
    done = subprocess.run(command, cwd=ROOT / folder, capture_output=True, text=True)
    assert done.stdout.split() == [str(ROOT / "segcore" / "__init__.py"), str(EXAMPLES)], done.stderr


def test_first_cell_errors(tmp_path):
    first = next(cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code")
    done = subprocess.run([sys.executable, "-I", "-c", first.source], cwd=tmp_path, capture_output=True, text=True)
    assert "start this notebook from its own folder" in done.stderr


def test_nothing_is_written_to_stderr(executed):
    for cell, outputs in executed.items():
        assert [each.text for each in outputs if each.output_type == "stream" and each.name == "stderr"] == [], cell


def test_steps_by_hand_agree_with_segcore(executed):
    assert "prepared alike: True" in printed(executed["model"])
    assert numbers(r"the same as segcore's on ([\d.]+)%", printed(executed["predict"]))[0] > 99.99
    assert "the same as segcore's: True" in printed(executed["truth"])


def test_scores_are_those_of_the_command_line(executed, record):
    [expected] = [row for row in record["per_image"] if row["image_id"] == IMAGE_ID]
    text = printed(executed["scores"])
    assert numbers(r"pixel accuracy ([\d.]+)", text) == [pytest.approx(expected["pixel_accuracy"], abs=1e-4)]
    assert numbers(r"mean IoU +([\d.]+) +over the (\d+)", text) == [
        pytest.approx(expected["mean_iou"], abs=1e-4),
        expected["classes_counted"],
    ]
    assert numbers(r"mean F1 +([\d.]+)", text) == [pytest.approx(expected["f1_macro"], abs=1e-4)]


def test_scikit_learn_agrees(executed):
    pairs = re.findall(r"scikit-learn ([\d.]+) +segcore ([\d.]+)", printed(executed["sklearn"]))
    assert len(pairs) == 4
    assert all(theirs == ours for theirs, ours in pairs)


def test_binary_mse_is_the_share_of_wrong_pixels(executed, record):
    mse, wrong, ours = numbers(r"MSE ([\d.]+) +1 - accuracy ([\d.]+) +segcore ([\d.]+)", printed(executed["binary"]))
    assert mse == wrong == ours
    assert 0.01 < mse < 0.2


def test_higher_thresholds_find_less_and_are_surer(executed):
    lines = re.findall(r"threshold ([\d.]+): ([\d.]+)%.*; ([\d.]+)%", printed(executed["threshold"]))
    recalls, precisions = ([float(line[column]) for line in lines] for column in (1, 2))
    assert recalls == sorted(recalls, reverse=True)
    assert precisions == sorted(precisions)
    assert len(lines) == 5


def test_pictures_are_shown(executed):
    for cell in ("load", "found", "figure", "errors"):
        assert any("image/png" in each.get("data", {}) for each in executed[cell]), cell


def test_kinds_of_error_add_up_to_the_picture(executed):
    kinds = re.findall(r"([\d,]+) pixels", printed(executed["errors"]))
    assert sum(int(each.replace(",", "")) for each in kinds) == 512 * 512


def test_both_summaries_are_those_of_the_command_line(executed, record):
    text = printed(executed["set"])
    for key in ("pixel_accuracy", "mean_iou", "foreground_mean_iou", "f1_macro"):
        expected = [pytest.approx(record[scope][key], abs=1e-4) for scope in ("dataset", "image_mean")]
        assert numbers(rf"{key} +dataset ([\d.]+) +image mean ([\d.]+)", text) == expected
