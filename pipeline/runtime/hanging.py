"""Where a call is that takes long: its worker says so by itself meanwhile, since a worker that hangs answers nothing.

Its words are taken back once the call has ended.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime import actor_words

ABOUT = b"mediatok-where"
AFTER_S = 20.0
"""Before a lane counts as stuck, and no call of a healthy lane of images or texts lasts as long."""
LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a worker's call was when it was last looked at.

    Attributes:
        stack: as `traceback` writes it, outermost frame first.
    """

    stack: tuple[str, ...]

    @property
    def innermost(self) -> str:
        """In a few words: "container.py:12 in demux"."""
        where, _, _ = self.stack[-1].strip().partition("\n")
        file, line, name = (part.strip() for part in where.rsplit(",", 2))
        return f"{Path(file.removeprefix('File ').strip(chr(34))).name}:{line.removeprefix('line ')} {name}"


class HangWatch:
    """One worker's. Its thread looks; `begin` and `finish` are called by the one that computes.

    Args:
        tell: takes a sighting, or None: there is nothing to tell any more.
        after_s: how long a call lasts before it is told of, and from then on between two times.
    """

    def __init__(self, tell: Callable[[Sighting | None], None], after_s: float = AFTER_S) -> None:
        self._tell = tell
        self._after_s = after_s
        self._call: tuple[float, int] | None = None
        self._told_s: float | None = None

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._look_on, name="hang-watch", daemon=True).start()

    def begin(self) -> None:
        """This thread begins with a call."""
        self._call = (time.monotonic(), threading.get_ident())

    def finish(self) -> None:
        """The call is over."""
        self._call = None

    def look(self, now_s: float) -> None:
        """Tell, if it is time to."""
        call = self._call
        if call is None:
            if self._told_s is not None:
                self._told_s = None
                self._tell(None)
            return
        began_s, thread = call
        if now_s - max(began_s, self._told_s or began_s) < self._after_s:
            return
        frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]  documented so
        if frame is not None:
            self._told_s = now_s
            self._tell(Sighting(tuple(traceback.format_stack(frame))))

    def _look_on(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_S):
            try:
                self.look(time.monotonic())
            except Exception:  # noqa: BLE001  the cluster's head may be away for a while; the call itself is not affected
                traceback.print_exc()


def tell(sighting: Sighting | None) -> None:
    """Say where this actor's call is, to whoever asks for it; None: take that back."""
    actor_words.say(ABOUT, None if sighting is None else json.dumps(sighting.stack).encode())


def take(actor: str) -> Sighting | None:
    """What an actor has said, once; None where its call is short yet.

    Args:
        actor: its id, in hex.
    """
    words = actor_words.take(ABOUT, actor)
    return None if words is None else Sighting(tuple(json.loads(words)))
