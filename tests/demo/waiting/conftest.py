"""A queue whose only server is busy."""

from __future__ import annotations

import pytest

from tests.helpers.busy_queue import Counter


@pytest.fixture
def counter():
    counter = Counter(longest=6)
    yield counter
    counter.open()
