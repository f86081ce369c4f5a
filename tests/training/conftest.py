"""What the tests of training share."""

from __future__ import annotations

import pytest

from tests.helpers.shapes import draw_shapes


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    draw_shapes(folder)
    draw_shapes(folder, split="val", ground=(75, 155, 65))  # the same shapes; no picture is in both
    return folder
