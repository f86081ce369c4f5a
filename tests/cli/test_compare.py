"""`segcore compare`: two models on the same images."""

import pytest
import torch

from segcore.categories import Categories
from segcore.models import checkpoint
from segcore.models.checkpoint import Header
from tests.cli.outputs import SHIPPED, names, read_json


@pytest.mark.slow
def test_compare_two_models(run, two_images, tmp_path):
    models = f"{SHIPPED},{SHIPPED}"
    outputs = ["--json", tmp_path / "c.json", "--html", tmp_path / "c.html", "--resume", tmp_path / "kept"]
    done = run("compare", "--dataset", two_images, "--models", models, *outputs)

    assert done.status == 0 and done.err == ""
    assert done.out.splitlines()[0].startswith("first:  2 images of ")
    record = read_json(tmp_path / "c.json")
    assert record["images"] == 2 and record["first"]["model"] == record["second"]["model"] == SHIPPED
    for row in record["dataset"].values():
        assert row["difference"] in (0, None) and row["first"] == row["second"]
    assert "Compared with another run" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert names(tmp_path / "kept") == ["first", "second"]


@pytest.mark.slow
@pytest.mark.parametrize("models", [SHIPPED, f"{SHIPPED},{SHIPPED},{SHIPPED}", f"{SHIPPED},nothing"])
def test_compare_takes_two_models_that_there_are(run, two_images, models):
    done = run("compare", "--dataset", two_images, "--models", models)
    assert done.status == 2 and ("two models" in done.err or "there is no model 'nothing'" in done.err)


def test_compare_takes_models_of_the_same_categories(run, two_images, tmp_path):
    provenance = {"program": "a test"}
    header = Header(SHIPPED, Categories.of("giraffe"), 520, (0.5,) * 3, (0.2,) * 3, provenance)
    checkpoint.write(tmp_path / "giraffes.safetensors", header, {"weight": torch.zeros(1)})
    done = run("compare", "--dataset", two_images, "--models", f"{SHIPPED},{tmp_path / 'giraffes.safetensors'}")
    assert done.status == 2 and "tell different things apart" in done.err
