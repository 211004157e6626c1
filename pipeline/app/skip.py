"""`mediatok skip`: accept that some offsets are gone, so that a lane may go on behind them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from operators.errors import ConfigError
from operators.records import VoidReason
from pipeline.app.storage import open_lake_to_commit
from pipeline.lake.delta import Skip
from pipeline.lake.proposal import Proposal
from pipeline.records import SourcePartition, Span

REASONS = (VoidReason.EXPIRED, VoidReason.TAKEN_DOWN)


def skip_offsets(lake_uri: str, log_text: str, start: int, end: int, reason: str, config_path: Path | None) -> int:
    """Commit offsets [start, end) of a log as void in every product that owes them. Returns the exit code.

    Raises:
        ConfigError: no such lake, log or reason, or nothing to skip.
    """
    log = parse_log(log_text)
    if not 0 <= start < end:
        raise ConfigError(f"offsets {start}..{end}: the first must be 0 or more, and below the end")
    if reason not in REASONS:
        raise ConfigError(f"--reason {reason!r}: must be one of {', '.join(REASONS)}")
    lake = open_lake_to_commit(lake_uri, config_path)
    keys = [key for key, each in lake.state.products.items() if each.open and lake.state.start(key, log) is not None]
    if not keys:
        raise ConfigError(f"no running product of {lake_uri} reads {log_text}: see `mediatok lake log`")
    span = Span(log, ((start, end),))
    skips = tuple(Skip(key, span, VoidReason(reason)) for key in keys)
    done = lake.commit(Proposal(skips=skips))
    lake.publish_live()
    console = Console()
    if done.delta is None:
        console.print(f"nothing to skip: offsets {start}..{end - 1} of {log_text} are done already", markup=False)
        return 0
    for each in done.delta.skips:
        console.print(f"{each.product}: {each.span.count} offsets are void ({each.reason})", markup=False)
    console.print(f"version {done.version}")
    return 0


def parse_log(text: str) -> SourcePartition:
    """`source_id/partition` as errors and `lake log` write it.

    Raises:
        ConfigError: it is none.
    """
    source_id, _, partition = text.rpartition("/")
    if not source_id or not partition.isdecimal():
        raise ConfigError(f"{text!r} is no log: source_id/partition, e.g. kafka:abc/0")
    return SourcePartition(source_id, int(partition))
