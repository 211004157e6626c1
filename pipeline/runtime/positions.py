"""A lane's answers to its source: where to read, by the lake and the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from pipeline.graph import LanePlan
from pipeline.records import SourcePartition
from pipeline.runtime.desk import LakeDesk
from pipeline.source.base import LogEnds, OffsetsAt


class LanePositions:
    """What a lane's source asks of the lake; see `pipeline.source.base.Positions`."""

    def __init__(self, desk: LakeDesk, plan: LanePlan) -> None:
        self._desk = desk
        self._keys = plan.keys
        self._start: Literal["earliest", "latest"] | datetime = plan.config.start

    def begun(self, source_id: str) -> bool:
        """See `Positions.begun`."""
        return self._desk.begun(source_id, self._keys)

    def resolve(self, logs: Sequence[LogEnds], at_time: OffsetsAt | None) -> Mapping[SourcePartition, int]:
        """See `Positions.resolve`."""

        def by_policy(fresh: Sequence[LogEnds]) -> Mapping[SourcePartition, int]:
            match self._start:
                case "latest":
                    return {ends.log: ends.latest for ends in fresh}
                case datetime() as time if at_time is not None:
                    return at_time(int(time.timestamp() * 1000), [ends.log for ends in fresh])
                case _:
                    return {ends.log: ends.earliest for ends in fresh}

        return self._desk.resolve(logs, self._keys, by_policy)
