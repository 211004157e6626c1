"""What an actor says as it ends itself in mid-call, where no call can answer any more.

Ray tells nobody how a process ended: an exit code, a signal and the kernel's killer all read "connection error code 2.
End of file" [2.60, tried], and its own `drain_and_exit_worker` waits for the call first.
"""

from __future__ import annotations

import json
import os
import threading

from pipeline.runtime import actor_words
from pipeline.runtime.memory import Departure, Leaving

ABOUT = b"mediatok-last-words"
SPEAK_S = 2.0
"""How long saying it may take; then the process ends without."""


def leave(departure: Departure) -> None:
    """Say why, and end this actor's process. Does not return."""
    threading.Timer(SPEAK_S, os._exit, [1]).start()
    try:
        actor_words.say(ABOUT, json.dumps([departure.reason.value, departure.message]).encode())
    finally:
        os._exit(1)


def take(actor: str) -> Departure | None:
    """What an actor that is dead has said, once.

    Args:
        actor: its id, in hex.
    """
    words = actor_words.take(ABOUT, actor)
    if words is None:
        return None
    reason, message = json.loads(words)
    return Departure(Leaving(reason), message)
