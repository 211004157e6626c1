"""A whole run in this process: files of a folder, the Ray that is there, a lake in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.app.build import Built, build, claims_of, plan
from pipeline.config import parse_config
from pipeline.graph import LanePlan
from pipeline.lake.open_store import open_store
from pipeline.lake.reader import read_table
from pipeline.runtime import cluster
from pipeline.runtime.lane_run import LaneRun
from pipeline.source.base import Positions, Source
from pipeline.source.events import Assigned, Event, Revoked
from pipeline.source.listing import freeze
from pipeline.source.listing_source import ListingSource

Row = tuple[str, int, int, tuple[int, ...]]
"""A file's name, start and end in ticks, codes."""


class Watched:
    """A source whose coordinator's rounds are watched, and whose partitions can be taken away."""

    def __init__(self, inner: Source, each_round: Callable[[], None]) -> None:
        self._inner, self._each_round = inner, each_round
        self._assigned: set[Any] = set()
        self._taking = False
        self.pause, self.resume, self.recheck = inner.pause, inner.resume, inner.recheck
        self.advise, self.lag, self.close = inner.advise, inner.lag, inner.close

    def take_away(self) -> None:
        """With the next round all partitions are another's."""
        self._taking = True

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`."""
        self._each_round()
        events = self._inner.poll(max_messages, timeout_s)
        for event in events:
            if isinstance(event, Assigned):
                self._assigned |= set(event.logs)
        if self._taking:
            self._taking = False
            events.append(Revoked(tuple(self._assigned)))
        return events


@dataclass
class Whole:
    """A run that is under way, or has ended.

    Attributes:
        source: of its lane.
    """

    built: Built
    lake: str
    source: Watched

    @property
    def lane(self) -> LaneRun:
        """Its only lane."""
        (lane,) = self.built.coordinator.lanes
        return lane

    @property
    def prepared(self) -> int:
        """Segments that workers have answered."""
        return self.lane.driver.tally.prepared

    def pid(self, worker: int) -> int:
        """Of a worker, by its number; 0 where it has not started."""
        return self.lane.driver.pids.get(f"{self.lane.name}/workers/{worker}", 0)

    def rows(self, product: str) -> list[Row]:
        """What the lake has, by name and time."""
        table = read_table(self.lake, product, columns=["uri", "start", "end", "codes"])
        return sorted((Path(r["uri"]).name, r["start"], r["end"], tuple(r["codes"])) for r in table.to_pylist())


def whole(
    folder: Path,
    media: Path,
    lane: Mapping[str, Mapping[str, Any]],
    each_round: Callable[[Whole], None] = lambda _: None,
    *,
    until_idle: bool = True,
) -> Whole:
    """Everything under `media` into a new lake, or until `each_round` asks the coordinator to end."""
    raw = {
        "lake": str(folder / "lake"),
        "state": str(folder / "state"),
        "commit": {"interval_s": 0.5},
        "fetch": {"roots": [str(media)]},
        "lanes": lane,
    }
    config = parse_config(raw)
    store = open_store(config.lake)
    listings = freeze([str(media)], store, {})
    made = list[Whole]()

    def make_source(_: LanePlan, positions: Positions) -> Source:
        sources.append(Watched(ListingSource(listings, store, positions), lambda: each_round(made[0])))
        return sources[0]

    sources = list[Watched]()
    claims = claims_of(config, lambda _: [listing.source_id for listing in listings])
    built = build(
        config,
        "test",
        make_source,
        claims,
        plans=plan(config),
        nodes=cluster.start(config.ray),
        until_idle=until_idle,
        show=lambda _: None,
    )
    made.append(Whole(built, config.lake, sources[0]))
    try:
        built.coordinator.run(until_idle=until_idle)
    finally:
        built.coordinator.close()
    return made[0]


def media_files_open_in(pid: int, folder: Path) -> list[str]:
    """Paths below a folder that a process has open."""
    found = list[str]()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith(f"{folder}/"):
            found.append(target)
    return found


def own_bytes(pid: int) -> int:
    """Memory that a process shares with nobody (`RssAnon`); 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)
