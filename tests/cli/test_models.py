"""`segcore models` and `segcore fetch-weights`, and what is said of models that are not here."""

from pathlib import Path

import pytest
import torch

from segcore.categories import Categories
from segcore.models import checkpoint
from segcore.models.catalogue import CATALOGUE
from segcore.models.checkpoint import Header
from tests.cli.outputs import SHIPPED, read_json


def test_models_lists_the_catalogue(run):
    done = run("models")
    assert (done.status, done.err) == (0, "")
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.startswith("deeplabv3")}
    assert list(lines) == list(CATALOGUE)
    assert "67.4 %" in lines["deeplabv3_resnet101"] and "92.4 %" in lines["deeplabv3_resnet101"]
    assert lines["deeplabv3_resnet101"].endswith("no") and lines[SHIPPED].endswith("yes")


def test_weights_that_are_not_on_disk(run, cat, tmp_path):
    done = run("predict", cat, "--out", tmp_path / "out", "--model", "deeplabv3_resnet101")
    assert done.status == 1 and "python -m segcore fetch-weights deeplabv3_resnet101" in done.err


def test_fetch_weights_of_the_shipped_model_are_here_already(run):
    done = run("fetch-weights", SHIPPED)
    assert (done.status, done.err) == (0, "") and Path(done.out.strip()).is_file()


@pytest.mark.slow
def test_a_former_models_name_is_accepted_with_a_line(run, cat, two_images, tmp_path):
    former = "deeplabv3_efficientnet_lite0"
    for command in (
        ("predict", cat, "--out", tmp_path, "--model", former),
        ("fetch-weights", former),
        ("compare", "--dataset", two_images, "--models", f"{former},{SHIPPED}", "--limit", "1"),
    ):
        done = run(*command)
        assert done.status == 0
        (line,) = done.err.splitlines()
        assert line.startswith(f"segcore: the model '{former}' was replaced by '{SHIPPED}'")
    assert read_json(tmp_path / "cat.json")["model"] == SHIPPED


def test_a_file_trained_on_a_former_network_errors(run, cat, tmp_path):
    header = Header("deeplabv3_efficientnet_lite0", Categories.of("giraffe"), 520, (0.5,) * 3, (0.2,) * 3, {})
    checkpoint.write(tmp_path / "mine.safetensors", header, {"weight": torch.zeros(1)})
    done = run("predict", cat, "--out", tmp_path / "out", "--model", tmp_path / "mine.safetensors")
    (line,) = done.err.splitlines()
    assert done.status == 1 and "mine.safetensors" in line and "no longer part of segcore; train it again" in line


def test_fetch_weights_errors(run):
    done = run("fetch-weights", "deeplabv3_resnet50", "--base-url", "ftp://mirror")
    assert done.status == 1 and "ftp://mirror/deeplabv3_resnet50_coco-" in done.err
    assert len(done.err.splitlines()) == 1
