from __future__ import annotations

import threading
import time

import pytest

from pipeline.runtime.hanging import HangWatch, Sighting, take, tell


class Told:
    def __init__(self) -> None:
        self.all: list[Sighting | None] = []

    def __call__(self, sighting: Sighting | None) -> None:
        self.all.append(sighting)


def test_a_call_that_takes_long_is_told_of_again_and_again_and_taken_back_when_it_has_ended() -> None:
    told = Told()
    watch = HangWatch(told, after_s=20.0)
    watch.begin()
    began_s = time.monotonic()
    for after_s in (1.0, 19.9, 20.1, 30.0, 40.2):
        watch.look(began_s + after_s)
    assert len(told.all) == 2
    watch.finish()
    watch.look(began_s + 41.0)
    watch.look(began_s + 99.0)
    assert [each is None for each in told.all] == [False, False, True]


def test_short_calls_are_not_told_of() -> None:
    told = Told()
    watch = HangWatch(told, after_s=20.0)
    for _ in range(3):
        watch.begin()
        watch.finish()
        watch.look(time.monotonic() + 100.0)
    assert told.all == []


def test_what_is_told_is_where_the_thread_is_that_computes() -> None:
    told, begun, end = Told(), threading.Event(), threading.Event()
    watch = HangWatch(told, after_s=0.0)

    def compute() -> None:
        watch.begin()
        begun.set()
        end.wait()

    thread = threading.Thread(target=compute)
    thread.start()
    begun.wait()
    watch.look(time.monotonic() + 1.0)
    end.set()
    thread.join()
    (sighting,) = told.all
    assert sighting is not None
    assert any(", in compute" in frame for frame in sighting.stack)
    assert not any("test_what_is_told" in frame for frame in sighting.stack)


def test_the_innermost_frame_is_said_in_a_few_words() -> None:
    outer, inner = (
        '  File "/a/b.py", line 1, in outer\n    inner()\n',
        '  File "/a/x, y.py", line 12, in demux\n    x()\n',
    )
    assert Sighting((outer, inner)).innermost == "x, y.py:12 in demux"


@pytest.mark.ray
def test_a_sighting_travels_by_the_cluster_and_is_taken_once(ray_session: None) -> None:
    sighting = Sighting(("a", "b"))
    tell(sighting)  # this process is no actor: its id is ""
    assert take("") == sighting
    assert take("") is None
    tell(sighting)
    tell(None)
    assert take("") is None
