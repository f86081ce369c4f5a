"""A short run of every fuzzing target, the same each time; `python -m tests.fuzz` is the long one."""

from __future__ import annotations

import pytest

from tests.fuzz.page import asked_page
from tests.fuzz.targets import TARGETS
from tests.helpers.page_server import running_page

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if not target.uses_page])
def test_a_target_stands_hostile_inputs(name):
    target = TARGETS[name]
    target.property(max_examples=target.smoke, derandomize=True)()


@pytest.mark.page
def test_the_page_stands_hostile_requests(no_downloads):
    target = TARGETS["page"]
    with running_page() as page, asked_page(page):
        target.property(max_examples=target.smoke, derandomize=True)()
