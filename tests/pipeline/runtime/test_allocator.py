"""A process that keeps freed memory gets it again without faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")

CHURN = """
import resource, sys, threading
from pipeline.runtime.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()

def churn():
    for _ in range(20):
        [bytearray(5 * 2**20) for _ in range(10)]

thread = threading.Thread(target=churn)  # as Ray's calls: their arenas are not the main one
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

HOLD = """
from pipeline.runtime.allocator import give_back, keep_freed_memory
from pipeline.runtime.memory import own_bytes
keep_freed_memory()
blocks = [bytearray(5 * 2**20) for _ in range(20)]
full = own_bytes()
del blocks
kept = own_bytes()
give_back()
print(full - kept, full - own_bytes())
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", CHURN, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_buffers_that_come_and_go_cost_their_pages_once() -> None:
    pages = 50 * 2**20 // 4096
    assert faults("keep") < 3 * pages < faults("leave")


def test_what_is_kept_goes_when_memory_is_judged() -> None:
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    freed_bytes, given_back_bytes = map(int, done.stdout.split())
    assert freed_bytes < 20 * 2**20
    assert given_back_bytes > 80 * 2**20
