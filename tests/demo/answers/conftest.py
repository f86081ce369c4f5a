"""The models and the images from which the page's answers are made."""

from __future__ import annotations

import pytest

from demo.answers.model_pool import ModelPool
from segcore.truth.coco import CocoDataset


@pytest.fixture(scope="module")
def pool(no_downloads) -> ModelPool:
    return ModelPool(offline=True)


@pytest.fixture(scope="session")
def dataset(examples_coco) -> CocoDataset:
    return CocoDataset.open(examples_coco)
