"""The package as a whole: its names, its imports, and what its wheel holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import segcore
from segcore import Segmenter

ROOT = Path(__file__).parents[1]


def test_package_has_no_other_names():
    assert segcore.Segmenter is Segmenter
    with pytest.raises(AttributeError, match="Segmentr"):
        segcore.Segmentr  # noqa: B018


def test_what_needs_no_torch_does_not_import_it():
    code = """
import sys
import segcore
import segcore.cli.main, segcore.imaging.drawing, segcore.imaging.reading, segcore.inference.task, segcore.metrics
import segcore.models.catalogue, segcore.truth.coco
print(*sorted({"torch", "torchvision", "matplotlib", "gradio"} & set(sys.modules)))
"""
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == ""


@pytest.mark.slow
def test_the_installed_package_holds_what_int8_is_measured_by(tmp_path, examples_coco):
    """Built as pip builds it, from a copy: building leaves files behind."""
    for name in ("segcore", "examples"):
        shutil.copytree(ROOT / name, tmp_path / "clone" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tmp_path / "clone")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        tmp_path / "clone",
    ]
    subprocess.run(build, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("segcore-*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    program = "import segcore.inference.segmenter as it; print(it.__file__, *sorted(it.SAMPLES.iterdir()), sep='\\n')"
    told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "installed", capture_output=True, text=True)
    module, *photographs = map(Path, told.stdout.splitlines())
    assert module.is_relative_to(tmp_path), told.stderr
    expected = sorted((examples_coco / "samples").glob("*.jpg"))
    assert [each.read_bytes() for each in photographs if each.suffix == ".jpg"] == [e.read_bytes() for e in expected]
