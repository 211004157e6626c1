"""The pipeline's own operators as plain callables: what a bare loop, Ray Data and Daft are given, each as it likes it.

Everything that runs them writes down when each call began and ended, and for how much, so that all sides are timed
alike: see `tests.bench.timing`.
"""

from __future__ import annotations

import os
import pickle
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.records import MediaReference, Modality, Origin, TokenBatch, WindowBatch
from pipeline.app.build import lane_settings, plan, worker_spec
from pipeline.config import Config
from pipeline.flow.calls import Lease
from pipeline.runtime.placement import pools_of
from pipeline.runtime.worker import StageWorker, WorkerSpec
from tests.bench.timing import Marks

Tokens = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done with each file, as the pipeline's lane does it.

    Attributes:
        spec: of its fused worker.
        views_of: by product key, the view that it reads.
        batch: files a call.
        workers: processes.
    """

    spec: WorkerSpec
    views_of: Mapping[str, str]
    batch: int
    workers: int


def work_of(config: Config) -> Work:
    """Of a config with one lane, all of whose stages are in one pool."""
    (lane,) = plan(config)
    (pool,) = pools_of(lane)
    spec = worker_spec(lane, pool, config, {})
    return Work(spec, lane.views, lane_settings(lane).prepare_batch, lane.config.workers.max)


class Whole:
    """Fetch, decode, cut and tokenize, in one process.

    Args:
        marks: folder for what it notes of its calls; None: it notes nothing.
    """

    def __init__(self, work: Work, marks: Path | None = None) -> None:
        hide_accelerators()
        self._work = work
        self._worker = StageWorker(work.spec)
        self._marks = Marks(marks)

    def __call__(self, paths: Sequence[str]) -> list[list[Tokens]]:
        """For each file its windows' tokens, flat, of all products."""
        with self._marks.call(len(paths)):
            found: list[list[Tokens]] = [[] for _ in paths]
            for numbers, batches in prepared(self._worker, self._work, paths):
                for file, tokens in tokenized(self._worker, self._work, numbers, batches):
                    found[file].append(tokens)
        return found


class Preparing:
    """Fetch, decode and cut; windows travel pickled, one call's batch at a time."""

    def __init__(self, work: Work, marks: Path | None = None) -> None:
        hide_accelerators()
        self._work = work
        # Ray Data keeps its tasks' processes, but not what a plain function has made: a class is kept.
        self._worker = StageWorker(replace(work.spec, stages=("prepare",), tokenizers={}))

    def __call__(self, paths: Sequence[str]) -> list[bytes]:
        """A pickled part for each call: to be given to `Tokenizing` as it is."""
        return [pickle.dumps((paths, part), 5) for part in prepared(self._worker, self._work, paths)]


class Tokenizing:
    """Windows to tokens."""

    def __init__(self, work: Work, marks: Path | None = None) -> None:
        hide_accelerators()
        self._work = work
        stages = tuple(stage for stage in work.spec.stages if stage != "prepare")
        self._worker = StageWorker(replace(work.spec, stages=stages))
        self._marks = Marks(marks)

    def __call__(self, parts: Sequence[bytes]) -> list[tuple[str, Tokens]]:
        """(file, its window's tokens), in order."""
        found: list[tuple[str, Tokens]] = []
        for part in parts:
            paths, (numbers, batches) = pickle.loads(part)
            with self._marks.call(len(set().union(*(set(files) for files in numbers.values())))):
                for file, tokens in tokenized(self._worker, self._work, numbers, batches):
                    found.append((paths[file], tokens))
        return found


Part = tuple[Mapping[str, Sequence[int]], Mapping[str, WindowBatch]]
"""By view: the file that each window is of, and the windows."""


def prepared(worker: StageWorker, work: Work, paths: Sequence[str]) -> Iterator[Part]:
    """All segments of some files, a prepare call's at a time.

    Raises:
        AssertionError: an operator has failed; a bench has no bad media.
    """
    leases = deque((file, lease_of(file, work.spec.modality, path)) for file, path in enumerate(paths))
    while leases:
        some = [leases.popleft() for _ in range(min(work.batch, len(leases)))]
        answer, batches = worker.prepare([lease for _, lease in some])
        assert answer.report.failure is None, answer.report.failure
        files: dict[str, list[int]] = {view: [] for view in work.spec.views}
        for (file, lease), item in zip(some, answer.items, strict=True):
            assert item.ended is None, item.ended
            cursors = [*([item.cursor] if item.cursor is not None else []), *item.forks]
            leases.extendleft((file, replace(lease, cursor=cursor, facts=item.facts)) for cursor in reversed(cursors))
            for view, rows in item.rows.items():
                files[view] += [file] * len(rows.windows)
        yield files, {view: batch for view, batch in zip(work.spec.views, batches, strict=True) if batch is not None}


def tokenized(
    worker: StageWorker, work: Work, files: Mapping[str, Sequence[int]], batches: Mapping[str, WindowBatch]
) -> Iterator[tuple[int, Tokens]]:
    """(file, its window's tokens) of every product."""
    for product in work.spec.tokenizers:
        view = work.views_of[product]
        windows = batches.get(view)
        if windows is None or not len(windows):
            continue
        done, tokens = worker.tokenize(product, [(0, len(windows))], [windows])
        assert done.report.failure is None, done.report.failure
        assert isinstance(tokens, TokenBatch)
        for number, file in enumerate(files[view]):
            yield file, tokens.values[tokens.offsets[number] : tokens.offsets[number + 1]]


def lease_of(number: int, modality: Modality, path: str) -> Lease:
    """The first of a file."""
    return Lease(1, MediaReference(Path(path).as_uri(), Origin("bench", 0, number, 0), modality))


def hide_accelerators() -> None:
    """As the pipeline does in its CPU actors."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def flat(windows: Sequence[Tokens]) -> Tokens:
    """End to end."""
    return np.concatenate(windows) if windows else np.zeros(0, np.uint16)


def in_batches(paths: Sequence[str], batch: int) -> Iterator[Sequence[str]]:
    """So many at a time."""
    for start in range(0, len(paths), batch):
        yield paths[start : start + batch]


def now_s() -> float:
    """The clock that all processes of a host share."""
    return time.time()
