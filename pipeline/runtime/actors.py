"""The workers' Ray actor: a thin shell around `StageWorker`. Values travel as top-level returns, never nested.

Records that come by the thousand are pickled before Ray sees them: its own pickler asks Python code about each one.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray

from operators.decode import Cursor
from operators.records import ContentFacts, WindowBatch
from pipeline.flow.calls import Lease
from pipeline.runtime import hanging, last_words
from pipeline.runtime.actor_options import ACTOR_OPTIONS
from pipeline.runtime.allocator import keep_freed_memory
from pipeline.runtime.worker import StageWorker, WorkerInfo, WorkerSpec


@ray.remote(**ACTOR_OPTIONS)
class StageActor:
    """A lane's worker: prepare, tokenize, or both."""

    def __init__(self, spec: WorkerSpec) -> None:
        if spec.gpus == 0:
            # `num_gpus=0` alone leaves every device of the node visible. Must precede the first import of torch.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        # Tokenizers in Rust would take every core of the node otherwise.
        os.environ["RAYON_NUM_THREADS"] = str(spec.threads)
        keep_freed_memory()
        self._worker = StageWorker(spec, last_words.leave, hanging.tell)

    def info(self) -> tuple[WorkerInfo, tuple[str, ...]]:
        """Answers once the worker is warm: where it runs, and the ids of the GPUs that Ray has given it."""
        context = ray.get_runtime_context()
        node, actor = context.get_node_id(), context.get_actor_id() or ""
        gpus = context.get_accelerator_ids().get("GPU", [])
        return replace(self._worker.info(), node=node, actor=actor), tuple(gpus)

    def prepare(self, pickled_leases: bytes) -> tuple[Any, ...]:
        """(PrepareAnswer, WindowBatch a view...): call with `num_returns = 1 + views`."""
        leases: tuple[Lease, ...] = pickle.loads(pickled_leases)  # noqa: S301  the coordinator's
        answer, batches = self._worker.prepare(leases)
        return (answer, *batches)

    def forget(self, facts: ContentFacts, cursor: Cursor) -> None:
        """See `StageWorker.forget`. Nobody waits for this."""
        self._worker.forget(facts, cursor)

    def tokenize(self, product: str, rows: Sequence[tuple[int, int]], *batches: WindowBatch) -> tuple[Any, Any]:
        """(TokenizeAnswer, TokenBatch): call with `num_returns=2`."""
        return self._worker.tokenize(product, rows, batches)
