"""What Ray raises where a call came to nothing, and what that says of its actor."""

from __future__ import annotations

import ray.exceptions

DIED = (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError)
"""The actor's process ended."""
LOST = (ray.exceptions.ObjectLostError, ray.exceptions.OwnerDiedError)
"""An argument's memory is gone."""


def blameless(error: Exception) -> bool:
    """Whether the node went or lacked memory, not the process by itself: no batch is to blame for that."""
    gone = bool(getattr(error, "preempted", False)) or "node died" in str(error).lower()
    return gone or isinstance(error, ray.exceptions.OutOfMemoryError)


def brief(error: BaseException) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
