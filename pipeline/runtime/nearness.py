"""Where a lane's decoders should run: on the nodes of its tokenizers, so that windows need not cross the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def node_for(decoders: Iterable[str], tokenizers: Iterable[str]) -> str:
    """The node for one more decoder: the one with the fewest for each of its tokenizers; "" where no tokenizer runs.

    Args:
        decoders, tokenizers: the node of each that is there to stay; "" where it is not known yet.
    """
    here, readers = Counter(decoders), Counter(node for node in tokenizers if node)
    return min(readers, key=lambda node: ((here[node] + 1) / readers[node], node), default="")


def preferring(node: str) -> NodeAffinitySchedulingStrategy | None:
    """To be started there if it has room, else anywhere; None for "".

    Softness alone would not do: it waits for ever for a node that is full [2.60, its docstring]. Hence the spilling.
    """
    return NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True) if node else None
