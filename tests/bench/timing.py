"""How fast many processes were together, from what each wrote down of its calls.

Start-up is told apart from work: the clock starts once every process has begun its first call, and counts only what
was begun from then on. So a side whose second process comes late is not charged for it.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator.

    Attributes:
        process: that made it.
        amount: of files.
        began_s, ended_s: by the host's clock (`time.time`).
    """

    process: str
    amount: int
    began_s: float
    ended_s: float


class Marks:
    """One process's notes of its calls: a line each, in a file of its own.

    Args:
        folder: None: nothing is noted.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / f"{uuid.uuid4().hex}.jsonl"

    @contextlib.contextmanager
    def call(self, amount: int) -> Generator[None]:
        """Note what is done within."""
        began_s = time.time()
        yield
        if self._path is not None:
            with self._path.open("a", encoding="ascii") as out:
                out.write(json.dumps([amount, began_s, time.time()]) + "\n")


def calls_in(folder: Path) -> list[Call]:
    """What all processes noted, in order of beginning."""
    calls = [
        Call(path.stem, *json.loads(line))
        for path in folder.glob("*.jsonl")
        for line in path.read_text(encoding="ascii").splitlines()
    ]
    return sorted(calls, key=lambda call: call.began_s)


def warm_rate_hz(calls: Sequence[Call], ended_s: float) -> float:
    """Files a second once all processes were at work.

    Args:
        calls: of all of them.
        ended_s: when the last result was written.

    Raises:
        ValueError: there were none.
    """
    if not calls:
        raise ValueError("nothing was called")
    firsts: dict[str, float] = {}
    for call in calls:
        firsts[call.process] = min(call.began_s, firsts.get(call.process, call.began_s))
    warm_s = max(firsts.values())
    amount = sum(call.amount for call in calls if call.began_s >= warm_s)
    # What began before and went on is counted by the part that lies after it.
    for call in calls:
        if call.began_s < warm_s < call.ended_s:
            amount += call.amount * (call.ended_s - warm_s) / (call.ended_s - call.began_s)
    return amount / (ended_s - warm_s)
