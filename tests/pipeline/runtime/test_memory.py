"""When a worker leaves for its memory, and whom that blames."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from operators.errors import ConfigError
from pipeline.runtime.memory import MARGIN, Leaving, MemoryWatch, own_bytes

MB = 1_000_000
LIMIT = 1000 * MB


class Process:
    """One whose memory is what the test says."""

    def __init__(self, limit_bytes: int = LIMIT, fresh_mb: int = 300) -> None:
        self.mb = fresh_mb
        self.ended = threading.Event()
        self.watch = MemoryWatch(limit_bytes, lambda _departure: self.ended.set(), lambda: self.mb * MB)


def looked(process: Process) -> Leaving | None:
    found = process.watch.look()
    return None if found is None else found.reason


def test_a_call_that_leaves_it_above_its_limit_is_its_last() -> None:
    process = Process()
    process.watch.start()
    for mb, leaves in ((400, False), (1000, False), (1001, True)):
        process.watch.begin()
        process.mb = mb
        process.watch.finish()
        assert (process.watch.departure is not None) == leaves
    assert process.watch.departure is not None
    assert process.watch.departure.reason is Leaving.MEMORY
    assert "1001 MB of its own, 1000 MB allowed, 300 MB at its start" in process.watch.departure.message


def test_what_a_call_gives_back_does_not_count() -> None:
    process = Process()
    process.watch.start()
    process.watch.begin()
    process.mb = 1200
    assert looked(process) is None
    process.mb = 500
    process.watch.finish()
    assert process.watch.departure is None


def test_a_call_that_would_take_a_fresh_worker_over_too_is_suspect() -> None:
    process = Process()
    process.watch.start()
    process.watch.begin()
    process.mb = int(MARGIN * 1000) + 1
    assert looked(process) is Leaving.MEMORY_IN_CALL


def test_threads_that_began_after_its_start_excuse_no_call() -> None:
    process = Process()
    process.watch.start()
    process.mb = 302
    process.watch.begin()
    process.mb = int(MARGIN * 1000) + 1
    assert looked(process) is Leaving.MEMORY_IN_CALL


def test_a_call_that_met_what_others_had_left_behind_is_not() -> None:
    process = Process()
    process.watch.start()
    process.watch.begin()
    process.mb = 990
    process.watch.finish()
    process.watch.begin()
    process.mb = int(MARGIN * 1000) + 1
    assert looked(process) is Leaving.MEMORY


def test_nothing_is_cut_short_between_calls() -> None:
    process = Process()
    process.watch.start()
    process.mb = 5000
    assert looked(process) is None


def test_the_process_is_ended_while_its_call_goes_on() -> None:
    process = Process()
    process.watch.start()
    process.watch.begin()
    process.mb = 2000
    assert process.ended.wait(30)


def test_without_a_limit_nothing_is_looked_at() -> None:
    watch = MemoryWatch(0, lambda _departure: None, lambda: 1 // 0)
    watch.start()
    watch.begin()
    watch.finish()
    assert watch.departure is None


def test_a_limit_that_a_fresh_worker_passes_is_refused() -> None:
    with pytest.raises(ConfigError, match="has 300 MB of its own, more than its limit of 200 MB"):
        Process(200 * MB).watch.start()


def test_memory_of_its_own_is_what_it_has_written_to() -> None:
    before = own_bytes()
    filled = np.ones(80 * MB, np.uint8)
    grown = own_bytes() - before
    assert 70 * MB < grown < 100 * MB
    del filled
    assert own_bytes() - before < 20 * MB
