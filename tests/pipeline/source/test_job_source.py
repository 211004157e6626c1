from __future__ import annotations

from collections.abc import Mapping, Sequence

from operators.errors import StoreUnavailableError
from operators.records import Origin
from pipeline.records import Message, SourcePartition, Task
from pipeline.source.events import Exhausted, Tasks
from pipeline.source.job_source import JobSource

LOG = SourcePartition("s", 0)


def task(offset: int) -> Task:
    return Task(Message(Origin("s", 0, offset, 0), "t", None, None), ("a",))


class List:
    """Gives these, and fails where None stands in their place."""

    def __init__(self, *batches: Sequence[int] | None) -> None:
        self.batches = list(batches)

    @property
    def left(self) -> Mapping[SourcePartition, int]:
        return {LOG: sum(len(batch) for batch in self.batches if batch is not None)}

    def next(self) -> Sequence[Task] | None:
        if not self.batches:
            return None
        batch = self.batches.pop(0)
        if batch is None:
            raise StoreUnavailableError("away")
        return [task(offset) for offset in batch]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def offsets(source: JobSource, most: int) -> list[int | str]:
    found: list[int | str] = []
    for event in source.poll(most, 0.0):
        assert isinstance(event, Tasks | Exhausted)
        if isinstance(event, Tasks):
            found += [each.message.origin.offset for each in event.tasks]
        else:
            found.append("end")
    return found


def test_it_gives_as_much_as_is_asked_for_and_then_ends():
    source = JobSource(List([1, 2, 3], [], [4]))
    assert offsets(source, 2) == [1, 2]
    assert source.lag() == {LOG: 2}
    assert offsets(source, 2) == [3, 4]
    assert offsets(source, 2) == ["end"]
    assert source.poll(2, 0.0) == []


def test_without_work_it_ends_at_once():
    assert offsets(JobSource(List()), 10) == ["end"]


def test_while_it_is_paused_it_gives_nothing():
    source = JobSource(List([1]))
    source.pause()
    assert source.poll(10, 0.0) == []
    source.resume()
    assert offsets(source, 10) == [1, "end"]


def test_where_the_lake_is_away_it_gives_what_it_has_and_asks_again_a_second_later():
    clock = Clock()
    source = JobSource(List([1], None, [2]), clock=clock)
    assert offsets(source, 10) == [1]
    assert source.poll(10, 0.0) == []
    clock.now_s = 1.0
    assert offsets(source, 10) == [2, "end"]


def test_closed_it_gives_nothing_more():
    source = JobSource(List([1]))
    source.close()
    assert source.poll(10, 0.0) == []
