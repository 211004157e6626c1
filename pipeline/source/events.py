"""What a source tells its coordinator, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.records import Message, SourcePartition, Task


@dataclass(frozen=True, slots=True)
class Messages:
    """Some messages; those of one log ascend by offset."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Tasks:
    """Some messages, each with what is to be done of it: what the lake has of them is known already."""

    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Hole:
    """Offsets [start, end) of `log` that hold no message: transaction markers, aborted messages, compaction.

    Each is void (`VoidReason.HOLE`).

    Attributes:
        products: keys of those that it is for; None: all of the lane's.
    """

    log: SourcePartition
    start: int
    end: int
    products: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Assigned:
    """These logs are read from now on, each from where `Positions.resolve` said."""

    logs: tuple[SourcePartition, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """These logs are read no more; another member of the group takes them over."""

    logs: tuple[SourcePartition, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """As `Revoked`, but another member may own them for a while already."""

    logs: tuple[SourcePartition, ...]


@dataclass(frozen=True, slots=True)
class EndReached:
    """Everything below `offset` has been given; the log has nothing more for now."""

    log: SourcePartition
    offset: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Everything has been given, and nothing will ever follow (listings)."""


Event = Messages | Tasks | Hole | Assigned | Revoked | Lost | EndReached | Exhausted
