"""What it costs to hand windows from one process to another.

Ray pickles with protocol 5, copies the arrays once into shared memory, and maps them where they are read: the copy is
measured here on the real windows, without Ray. What a call costs beside, and what a network carries, are figures.
"""

from __future__ import annotations

import mmap
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from operators.records import WindowBatch

CALL_S = 0.0005
"""CPU-seconds of a call to an actor, both sides together: 190 to 480 µs were measured with Ray 2.60."""
NETWORK_BYTES_S = 1.25e9
"""Of one node: 10 Gbit/s."""
COPIES = 2
"""Between nodes: out of one store, into the other."""


@dataclass(frozen=True, slots=True)
class Hop:
    """Of some batches: CPU-seconds to write them into shared memory, and to read every page of them there."""

    put_s: float
    get_s: float


def hop_of(blocks: Sequence[Mapping[str, WindowBatch]]) -> Hop:
    """Measure it; the faster of two tries for each, since the first one meets cold pages."""
    put_s = get_s = 0.0
    for block in blocks:
        for batch in block.values():
            tries = [_once(batch) for _ in range(2)]
            put_s += min(each.put_s for each in tries)
            get_s += min(each.get_s for each in tries)
    return Hop(put_s, get_s)


def between_nodes_s(window_bytes: float, put_s: float) -> float:
    """What a reference's windows cost in CPU-seconds if they must go to another node, beyond a hop within one."""
    return COPIES * put_s + window_bytes / NETWORK_BYTES_S


def _once(batch: WindowBatch) -> Hop:
    began_s = time.thread_time()
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    with mmap.mmap(-1, max(1, sum(len(view) for view in views))) as shared:
        place, places = 0, list[tuple[int, int]]()
        for view in views:
            shared[place : place + len(view)] = view
            places.append((place, place + len(view)))
            place += len(view)
        put_s = time.thread_time() - began_s
        began_s = time.thread_time()
        with memoryview(shared) as whole:
            slices = [whole[start:end] for start, end in places]
            pickle.loads(head, buffers=slices)  # noqa: S301  just pickled
            for each in slices:
                sum(each[:: mmap.PAGESIZE])
                each.release()
        return Hop(put_s, time.thread_time() - began_s)
