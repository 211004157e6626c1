"""A status as `mediatok status` shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from pipeline.observe import units
from pipeline.observe.status import LaneStatus, RunStatus, State, StatusReading
from pipeline.scale.records import ScaleReason

STATE_STYLE = {
    State.STARTING: "cyan",
    State.RUNNING: "green",
    State.PAUSED: "yellow",
    State.IDLE: "dim",
    State.DRAINING: "cyan",
    State.STOPPED: "dim",
}
_WAITS_SHOWN = 3
_WIDE = 132
"""Columns from which reasons are explained instead of named."""
_URI_WIDTHS = (34, 80)


def render_status(reading: StatusReading) -> RenderableType:
    """A heading, then lanes, pools, what they wait for, and the oldest item of each lane; from 80 columns up."""
    return _StatusView(reading)


@dataclass(frozen=True, slots=True)
class _StatusView:
    """Says more where there is more room."""

    reading: StatusReading

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        status, wide = self.reading.status, options.max_width >= _WIDE
        yield _heading(self.reading)
        for note in status.notes:
            yield Text(f"! {note}", style="yellow")
        yield from _alarms(status, wide)
        yield from _outages(status)
        yield from ("", _lanes(status), "", _pools(status, wide))
        if any(lane.waiting or lane.waited_s for lane in status.lanes):
            yield from ("", _waits(status, wide))
        if any(lane.oldest for lane in status.lanes):
            yield from ("", _oldest(status, wide), *_details(status))


def plain_table(*columns: str, left: int = 1) -> Table:
    """A table without borders: the first `left` columns to the left, numbers to the right, nothing wrapped."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold", show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    return table


def _heading(reading: StatusReading) -> Text:
    status = reading.status
    text = Text(overflow="fold")
    text.append("mediatok ", style="bold")
    text.append(status.state, style=STATE_STYLE[status.state])
    text.append(f"  pid {status.pid} on {status.host}, for {units.duration(status.written_at_s - status.started_at_s)}")
    if reading.stale:
        text.append(f"\nno word for {units.duration(reading.age_s)}: it hangs, or was killed", style="bold red")
    elif status.state == State.STOPPED:
        text.append(f", ended {units.duration(reading.age_s)} ago")
    version = max((lane.committed_version for lane in status.lanes), default=0)
    text.append(f"\n{status.config} → {status.lake}, version {units.count(version)}", style="dim")
    return text


def _lanes(status: RunStatus) -> Table:
    table = plain_table("lane", "state", "behind", "in flight", "memory", "done", "letters", "items/s", "ETA", left=2)
    for lane in status.lanes:
        table.add_row(
            lane.lane,
            Text(lane.state, style=STATE_STYLE[lane.state]),
            units.compact(lane.lag_items),
            f"{units.short(lane.credits.slots_used)}/{units.short(lane.credits.slots_total)}",
            f"{lane.credits.bytes_used / lane.credits.bytes_total:.0%}" if lane.credits.bytes_total else "–",
            units.compact(lane.done_items),
            Text(units.compact(lane.letters), style="red" if lane.letters else ""),
            units.rate(lane.rate_hz),
            eta(lane),
        )
    return table


def eta(lane: LaneStatus) -> str:
    """Of a lane; "–" where nothing remains or it can't be told."""
    return units.duration(lane.eta_s if lane.remaining_items else None)


def _pools(status: RunStatus, wide: bool) -> Table:
    table = plain_table("pool", "ready/wanted", "queue", "busy with", "items/s", "last decision")
    table.columns[-1].justify = "left"
    for lane in status.lanes:
        for pool in lane.pools:
            moving = f"+{pool.workers_starting} " if pool.workers_starting else ""
            moving += f"-{pool.workers_draining} " if pool.workers_draining else ""
            table.add_row(
                pool.stage if pool.stage.startswith(f"{lane.lane}/") else f"{lane.lane}/{pool.stage}",
                f"{moving}{pool.workers_ready}/{pool.workers_wanted}",
                units.compact(pool.queued_items),
                units.compact(pool.in_flight_items),
                units.rate(pool.rate_hz),
                ScaleReason(pool.reason).explanation if wide and pool.reason in set(ScaleReason) else pool.reason,
            )
    return table


def _waits(status: RunStatus, wide: bool) -> Table:
    table = plain_table("lane", "waiting for", "waited so far", left=3)
    for lane in status.lanes:
        longest = sorted(lane.waited_s.items(), key=lambda wait: -wait[1])[:_WAITS_SHOWN]
        table.add_row(
            lane.lane,
            "–" if lane.waiting is None else lane.waiting.explanation if wide else lane.waiting,
            ", ".join(f"{reason} {units.duration(waited_s)}" for reason, waited_s in longest) or "–",
        )
    return table


def _oldest(status: RunStatus, wide: bool) -> Table:
    table = plain_table("lane", "oldest is in", "age", "partition:offset", "uri", left=2)
    table.columns[-1].justify = "left"
    for lane in status.lanes:
        if lane.oldest is not None:
            origin, uri = lane.oldest.origin, lane.oldest.uri
            table.add_row(
                lane.lane,
                lane.oldest.stage,
                units.duration(lane.oldest.age_s),
                f"{origin.partition}:{origin.offset}",
                Text(units.middle(uri, _URI_WIDTHS[wide])),
            )
    return table


def _details(status: RunStatus) -> Iterator[Text]:
    """What keeps the oldest items: too long for a table."""
    for lane in status.lanes:
        if lane.oldest is not None and lane.oldest.detail:
            yield Text(f"{lane.lane}, {lane.oldest.stage}: {lane.oldest.detail}", style="dim", overflow="fold")


def _alarms(status: RunStatus, wide: bool) -> Iterator[Text]:
    """What somebody should look at now."""
    for lane in status.lanes:
        if lane.stalled is not None:
            stalled = lane.stalled
            told = f"! {lane.lane} is stuck for {units.duration(stalled.lasts_s)}: {stalled.cause}: {stalled.detail}"
            told += f"; {stalled.cause.explanation}" if wide else ""
            yield Text(f"{told}; see {stalled.dump}" if stalled.dump else told, style="bold red", overflow="fold")
    if status.spilled_bytes:
        told = f"! Ray's object store has spilled {units.size(status.spilled_bytes)} to disk: give it more memory "
        told += "(ray.object_store_bytes), or the lanes less (limits.window_bytes, limits.token_bytes)"
        yield Text(told, style="bold red", overflow="fold")
    if status.wanted_nodes:
        told = f"! the pools want more machines: the cluster was asked for room for {status.wanted_nodes}"
        yield Text(told, style="yellow", overflow="fold")


def _outages(status: RunStatus) -> Iterator[Text]:
    for lane in status.lanes:
        for outage in lane.outages:
            told = f"! {lane.lane}: {outage.place} is down for {units.duration(outage.lasts_s)}, "
            told += f"{units.count(outage.waiting_items)} items wait: {outage.error}"
            yield Text(told, style="yellow", overflow="fold")
        if lane.held_letters:
            told = f"{lane.lane}: {units.count(lane.held_letters)} letters are held until their share has been judged"
            yield Text(told, style="dim", overflow="fold")


def one_line(lane: LaneStatus) -> str:
    """A lane in plain text, for logs without a terminal."""
    parts = [f"{lane.lane:<6} {units.count(lane.done_items):>9} done"]
    parts.append(f"{units.count(lane.in_flight_items):>6} in flight")
    parts.append(f"{units.count(lane.lag_items):>9} behind")
    parts.append(f"{units.rate(lane.rate_hz):>7}/s")
    if lane.remaining_items:
        parts.append(f"ETA {eta(lane)}")
    if lane.letters:
        parts.append(f"{units.count(lane.letters)} letters")
    parts.append(lane.state if lane.waiting is None else f"{lane.state}, {lane.waiting}")
    if lane.stalled is not None:
        parts.append(f"STUCK: {lane.stalled.cause}")
    return "  ".join(parts)
