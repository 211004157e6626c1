"""What an actor says of itself where no call can answer: a line in the cluster's key-value store.

That outlives the actor and is reached from every node.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.experimental import internal_kv

_kv: Any = internal_kv
"""Its functions have names like private ones, but are what Ray's libraries themselves use."""


def say(about: bytes, words: bytes | None) -> None:
    """Put this actor's words in the place of those before; None: take them back.

    Args:
        about: the namespace.
    """
    actor = (ray.get_runtime_context().get_actor_id() or "").encode()
    if words is None:
        _kv._internal_kv_del(actor, namespace=about)
    else:
        _kv._internal_kv_put(actor, words, overwrite=True, namespace=about)


def take(about: bytes, actor: str) -> bytes | None:
    """What an actor, dead or alive, has said, once; None where it said nothing.

    Args:
        actor: its id, in hex.
    """
    words: bytes | None = _kv._internal_kv_get(actor.encode(), namespace=about)
    if words is not None:
        _kv._internal_kv_del(actor.encode(), namespace=about)
    return words
