"""Progress of a run: a bar a lane on a terminal, a plain line a lane every few seconds elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from pipeline.observe import units
from pipeline.observe.status import LaneStatus
from pipeline.observe.status_table import STATE_STYLE, eta, one_line


class ProgressDisplay:
    """Shows lanes while a run goes on; a context manager, from one thread.

    On a terminal it keeps the last lines for itself: logs must go through the same `Console` (see `logs.setup_logs`).

    Args:
        console: where to.
        every_s: between two reports where there is no terminal.
    """

    def __init__(self, console: Console, *, every_s: float = 10.0) -> None:
        self._console = console
        self._every_s = every_s
        self._next_s: float | None = None
        self._last: tuple[LaneStatus, ...] = ()
        self._tasks: dict[str, TaskID] = {}
        self._bars = _bars(console) if console.is_terminal else None

    def __enter__(self) -> ProgressDisplay:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        elif self._next_s is not None:
            self._print()

    def update(self, lanes: Sequence[LaneStatus], now_s: float) -> None:
        """Show this; as often as one likes.

        Args:
            now_s: any clock that never goes back.
        """
        self._last = tuple(lanes)
        if self._bars is not None:
            self._draw(self._bars)
        elif self._next_s is None or now_s >= self._next_s:
            self._next_s = now_s + self._every_s
            self._print()

    def _print(self) -> None:
        for lane in self._last:
            self._console.print(one_line(lane), markup=False, highlight=False, soft_wrap=True)

    def _draw(self, bars: Progress) -> None:
        for lane in self._last:
            if lane.lane not in self._tasks:
                self._tasks[lane.lane] = bars.add_task(lane.lane, total=None, lane=lane)
            remaining = lane.remaining_items
            # Nothing known to come: a full bar when all is done, a pulse while the lag is unknown.
            total = None if remaining is None else max(1, lane.done_items + remaining)
            done = total if remaining == 0 else lane.done_items
            bars.update(self._tasks[lane.lane], total=total, completed=done, lane=lane)


class _LaneColumn(TextColumn):
    """One cell computed from the task's LaneStatus."""

    def __init__(self, part: str, *, left: bool = False, min_width: int = 0, ratio: int | None = None) -> None:
        column = Column(
            justify="left" if left else "right", no_wrap=True, min_width=min_width, ratio=ratio, overflow="ellipsis"
        )
        super().__init__(part, table_column=column)
        self._part = part

    def render(self, task: Task) -> Text:
        lane: LaneStatus = task.fields["lane"]
        return _CELLS[self._part](lane)


def _count_cell(lane: LaneStatus) -> Text:
    remaining = lane.remaining_items
    total = "" if remaining is None else f"/{units.count(lane.done_items + remaining)}"
    return Text(f"{units.count(lane.done_items)}{total}")


def _state_cell(lane: LaneStatus) -> Text:
    text = Text(lane.state, style=STATE_STYLE[lane.state])
    if lane.letters:
        text.append(f"  {units.count(lane.letters)} letters", style="red")
    if lane.stalled is not None:
        text.append(f"  STUCK: {lane.stalled.cause}", style="bold red")
    elif lane.waiting is not None:
        text.append(f"  {lane.waiting}", style="dim")
    return text


_CELLS = {
    "lane": lambda lane: Text(lane.lane, style="bold"),
    "count": _count_cell,
    "rate": lambda lane: Text(f"{units.rate(lane.rate_hz)}/s"),
    "eta": lambda lane: Text(f"ETA {eta(lane)}" if lane.remaining_items else ""),
    "state": _state_cell,
}


def _bars(console: Console) -> Progress:
    """Lane, bar, done/total, rate, ETA, state; fits into 80 columns."""
    return Progress(
        _LaneColumn("lane", left=True, min_width=5),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8, max_width=40)),
        _LaneColumn("count"),
        _LaneColumn("rate", min_width=7),
        _LaneColumn("eta", min_width=8),
        _LaneColumn("state", left=True, min_width=8, ratio=1),
        console=console,
        expand=True,
        refresh_per_second=4,
    )
