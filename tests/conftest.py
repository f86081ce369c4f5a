"""Where the tests find photographs with ground truth."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_coco() -> Path:
    """A folder of real COCO images in COCO's layout, which not every machine has."""
    folder = ROOT.parent / "shared" / "data" / "coco"
    if not folder.is_dir():
        pytest.skip(f"needs COCO images in {folder}")
    return folder


@pytest.fixture(scope="session")
def examples_coco() -> Path:
    """The sample photographs that come with the code, in COCO's layout."""
    return ROOT / "examples"


@pytest.fixture(scope="module")
def no_downloads(tmp_path_factory):
    """A TORCH_HOME without weights, so that "auto" is the shipped model in this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        yield
