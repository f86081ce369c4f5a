"""That large arrays do not cost new pages each time, and that the page gives back what it does not use."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")


def printed_by(program: str) -> int:
    """The number that a fresh Python prints: how memory is handed out is of a process, once and for all."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


FAULTS_OF_100_ARRAYS = """
import resource
import numpy as np
{first}
def use():
    for megabytes in range(10, 30, 2):
        np.ones(megabytes << 20, np.uint8)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_large_arrays_reuse_the_pages_of_those_before():
    by_default = printed_by(FAULTS_OF_100_ARRAYS.format(first=""))
    kept = printed_by(FAULTS_OF_100_ARRAYS.format(first="from segcore.inference import memory; memory.keep_pages()"))
    assert by_default > 1000
    assert kept < 100


HELD_AFTERWARDS = """
import time
import numpy as np
from pathlib import Path
from demo.server import memory
{first}
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
crowd = [np.ones(1 << 20, np.uint8) for _ in range(200)]
one_of_them_stays = crowd[-1]  # so that none of the others lies at the end
del crowd
until = time.monotonic() + 5
while resident() - before > 50 << 20 and time.monotonic() < until:
    time.sleep(0.05)
print((resident() - before) >> 20)
"""


@pytest.mark.slow
def test_the_page_gives_back_what_it_does_not_use():
    never = printed_by(HELD_AFTERWARDS.format(first="memory.memory.keep_pages()"))
    given_back = printed_by(HELD_AFTERWARDS.format(first="memory._EVERY = 0.1; memory.keep_compact()"))
    assert never > 150
    assert given_back < 50
