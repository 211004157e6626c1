"""What an actor says as it ends itself in mid-call, where no call can answer any more.

Ray tells nobody how a process ended: an exit code, a signal and the kernel's killer all read "connection error code 2.
End of file" [2.60, tried], and its own `drain_and_exit_worker` waits for the call first. So the words go to the
cluster's key-value store, which outlives the actor and is reached from every node.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import ray
from ray.experimental import internal_kv

from pipeline.runtime.memory import Departure, Leaving

NAMESPACE = b"mediatok-last-words"
_kv: Any = internal_kv
"""Its functions have names like private ones, but are what Ray's libraries themselves use."""
SPEAK_S = 2.0
"""How long saying it may take; then the process ends without."""


def leave(departure: Departure) -> None:
    """Say why, and end this actor's process. Does not return."""
    threading.Timer(SPEAK_S, os._exit, [1]).start()
    try:
        actor = ray.get_runtime_context().get_actor_id() or ""
        words = json.dumps([departure.reason.value, departure.message]).encode()
        _kv._internal_kv_put(actor.encode(), words, namespace=NAMESPACE)
    finally:
        os._exit(1)


def take(actor: str) -> Departure | None:
    """What an actor that is dead has said, once.

    Args:
        actor: its id, in hex.
    """
    words = _kv._internal_kv_get(actor.encode(), namespace=NAMESPACE)
    if words is None:
        return None
    _kv._internal_kv_del(actor.encode(), namespace=NAMESPACE)
    reason, message = json.loads(words)
    return Departure(Leaving(reason), message)
