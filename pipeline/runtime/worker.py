"""What runs inside a lane's actors, without Ray: prepare and tokenize, answered as plain records.

An actor that serves several stages is fused: on a small host one process decodes and tokenizes, and windows stay in
the memory of the machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from operators.decode import AvLimits, Cursor, ImageLimits, OnDamage
from operators.errors import Disposition, InvariantError, MediatokError, TokenizeFailedError
from operators.records import ContentFacts, EmptyReason, Failure, Modality, TokenBatch, VoidReason, WindowBatch
from operators.tokenize import registry
from operators.tokenize.base import Precision, Tokenizer
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy, MediaFiles
from pipeline.flow.calls import Lease, PreparedItem, RowSpan
from pipeline.flow.prepare_stage import PREPARE
from pipeline.runtime.contents import Contents, InMemory, OnDisk
from pipeline.runtime.hanging import AFTER_S, HangWatch, Sighting
from pipeline.runtime.memory import Departure, MemoryWatch, memory_failure
from pipeline.runtime.prepare import DecodeSettings, Failed, ItemReport, NotMine, Preparer
from pipeline.runtime.warming import WarmUp, warm_up


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """What a worker may fetch and decode, without the config's own classes: those take 0.2 s of each actor's start.

    Attributes:
        max_file_bytes: of one recording or film.
        disk_bytes: what recordings and films may take of a node's disk.
    """

    policy: FetchPolicy = field(default_factory=FetchPolicy)
    limits: FetchLimits = field(default_factory=FetchLimits)
    images: ImageLimits = field(default_factory=ImageLimits)
    media: AvLimits = field(default_factory=AvLimits)
    max_file_bytes: int = 64 << 30
    disk_bytes: int = 128 << 30


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """All that an actor needs to know to become a worker.

    Attributes:
        stages: that it serves: "prepare" and product keys.
        views: keys of the views that prepare cuts, in the order in which its batches are returned.
        tokenizers: by product key, the registry's name and options.
        storage: fsspec's options by scheme, secrets resolved.
        media_dir: folder of its node for sound and films while they are worked on.
        threads: that torch may use.
        gpus: its share; 0 hides all devices from it.
        memory_bytes: of its own that it may have; 0: no limit. See `pipeline.runtime.memory`.
        precision: of the tokenizers' encoders.
        warm_windows: of a batch; on a GPU, what tokenizers are warmed up with.
        tell_after_s: of a call: from then on it says where it is.
    """

    lane: str
    modality: Modality
    stages: tuple[str, ...]
    views: tuple[str, ...]
    tokenizers: Mapping[str, tuple[str, Mapping[str, Any]]]
    fetch: FetchSettings
    storage: Mapping[str, Mapping[str, Any]]
    media_dir: str
    on_damage: str
    threads: int
    gpus: float
    memory_bytes: int = 0
    precision: Precision = Precision.FLOAT32
    warm_windows: int = 1
    tell_after_s: float = AFTER_S


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Where a worker runs: what it says once it is warm.

    Attributes:
        device: that its tokenizers are on.
        visible: CUDA_VISIBLE_DEVICES as the process sees it.
        warm_s: from its first line of Python to here.
        warm_up_s: of these, in calls of the tokenizers on blank windows.
        window_tokens_bytes: by product, what tokens of a blank window take.
        unsuited: by product, what its tokenizer raised on blank windows.
        node, actor: ids that Ray gave its node and itself; "" outside of Ray.
    """

    pid: int
    device: str
    visible: str
    warm_s: float
    warm_up_s: float = 0.0
    window_tokens_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    unsuited: Mapping[str, str] = field(default_factory=dict[str, str])
    node: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class CallReport:
    """What every call says of itself; an operator's error is a record here, so that nothing unpicklable travels.

    Attributes:
        busy_s: computing, without waiting for arguments.
        failure: the whole call came to nothing.
        stops: the failure ends the run.
        leaving: the worker takes no further call, and why.
        begun: False: it was leaving already when the call came, and did not touch it.
    """

    busy_s: float
    failure: Failure | None = None
    stops: bool = False
    leaving: Departure | None = None
    begun: bool = True


@dataclass(frozen=True, slots=True)
class PrepareAnswer:
    """A prepare call's answer; its batches travel beside it, one a view.

    Attributes:
        items: one a lease, in order.
        sizes_bytes: of the batches, in the order of `WorkerSpec.views`.
        fetched_bytes: of content.
    """

    report: CallReport
    items: tuple[PreparedItem, ...] = ()
    sizes_bytes: tuple[int, ...] = ()
    fetched_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TokenizeAnswer:
    """A tokenize call's answer; its batch travels beside it."""

    report: CallReport
    size_bytes: int = 0
    tokens: int = 0


class StageWorker:
    """See the module. One thread calls it.

    Args:
        end: ends the process in mid-call, where its memory has run away.
        tell: takes where a call is that takes long; see `pipeline.runtime.hanging`.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        end: Callable[[Departure], None] | None = None,
        tell: Callable[[Sighting | None], None] | None = None,
    ) -> None:
        started_s = time.monotonic()
        self._spec = spec
        self._memory = MemoryWatch(spec.memory_bytes, end or _end_process)
        self._hangs = None if tell is None else HangWatch(tell, spec.tell_after_s)
        self._preparer: Preparer | None = None
        if PREPARE in spec.stages:
            self._preparer = make_preparer(spec)
        self._tokenizers: dict[str, Tokenizer] = {}
        self._device = "cpu"
        self._warm_ups: dict[str, WarmUp] = {}
        keys = [stage for stage in spec.stages if stage != PREPARE]
        if keys:
            self._device = _device(spec)
            for key in keys:
                name, options = spec.tokenizers[key]
                tokenizer = registry.in_precision(registry.build(name, options), spec.precision)
                self._tokenizers[key] = tokenizer.to(self._device)
            _limit_threads(spec.threads)
            windows = 1 if self._device == "cpu" else spec.warm_windows
            self._warm_ups = {key: warm_up(tokenizer, windows) for key, tokenizer in self._tokenizers.items()}
        self._warm_s = time.monotonic() - started_s

    def info(self) -> WorkerInfo:
        """Where it runs; from here on it watches its memory.

        Raises:
            ConfigError: its limit is below what it has already.
        """
        self._memory.start()
        if self._hangs is not None:
            self._hangs.start()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        warm_up_s = sum(each.took_s for each in self._warm_ups.values())
        seen = {key: each.window_tokens_bytes for key, each in self._warm_ups.items()}
        sizes = {key: size for key, size in seen.items() if size is not None}
        unsuited = {key: each.unsuited for key, each in self._warm_ups.items() if each.unsuited}
        return WorkerInfo(os.getpid(), self._device, visible, self._warm_s, warm_up_s, sizes, unsuited)

    def prepare(self, leases: Sequence[Lease]) -> tuple[PrepareAnswer, tuple[WindowBatch | None, ...]]:
        """Fetch, decode and cut; batches in the order of the spec's views (None where nothing was cut)."""
        if self._memory.departure is not None:
            return PrepareAnswer(self._not_begun()), (None,) * len(self._spec.views)
        with self._watched():
            answer, batches = self._prepare(leases)
        return replace(answer, report=replace(answer.report, leaving=self._memory.departure)), batches

    def forget(self, facts: ContentFacts, cursor: Cursor) -> None:
        """Nobody will ask for the segment at `cursor`: close what is open for it."""
        assert self._preparer is not None
        self._preparer.forget(facts, cursor)

    def tokenize(
        self, product: str, rows: Sequence[tuple[int, int]], batches: Sequence[WindowBatch]
    ) -> tuple[TokenizeAnswer, TokenBatch | None]:
        """Tokenize rows [start, stop) of each batch, end to end."""
        if self._memory.departure is not None:
            return TokenizeAnswer(self._not_begun()), None
        with self._watched():
            answer, tokens = self._tokenize(product, rows, batches)
        return replace(answer, report=replace(answer.report, leaving=self._memory.departure)), tokens

    @contextlib.contextmanager
    def _watched(self) -> Generator[None]:
        """A call is computed here."""
        self._memory.begin()
        if self._hangs is not None:
            self._hangs.begin()
        try:
            yield
        finally:
            if self._hangs is not None:
                self._hangs.finish()
            self._memory.finish()

    def _not_begun(self) -> CallReport:
        return CallReport(0.0, leaving=self._memory.departure, begun=False)

    def _prepare(self, leases: Sequence[Lease]) -> tuple[PrepareAnswer, tuple[WindowBatch | None, ...]]:
        assert self._preparer is not None
        started_s = time.perf_counter()
        nothing = (None,) * len(self._spec.views)
        try:
            reports, batches = self._preparer.prepare(leases)
            items = tuple(_prepared(report) for report in reports)
        except Exception as error:  # noqa: BLE001  becomes a record: an operator's error must not end its actor
            return PrepareAnswer(_report(error, "prepare.failed", started_s)), nothing
        ordered = tuple(batches.get(view) for view in self._spec.views)
        sizes_bytes = tuple(0 if batch is None else batch.size_bytes for batch in ordered)
        # Once an item: its further segments and ranges read the same content.
        firsts = (item for lease, item in zip(leases, items, strict=True) if lease.cursor is None)
        fetched_bytes = sum(item.facts.size_bytes for item in firsts if item.facts is not None)
        report = CallReport(time.perf_counter() - started_s)
        return PrepareAnswer(report, items, sizes_bytes, fetched_bytes), ordered

    def _tokenize(
        self, product: str, rows: Sequence[tuple[int, int]], batches: Sequence[WindowBatch]
    ) -> tuple[TokenizeAnswer, TokenBatch | None]:
        started_s = time.perf_counter()
        try:
            windows = WindowBatch.join([b.rows(*span) for b, span in zip(batches, rows, strict=True)])
            tokens = _checked(self._tokenizers[product].tokenize(windows), len(windows))
        except Exception as error:  # noqa: BLE001  becomes a record: an operator's error must not end its actor
            return TokenizeAnswer(_report(error, TokenizeFailedError.code, started_s)), None
        report = CallReport(time.perf_counter() - started_s)
        return TokenizeAnswer(report, tokens.size_bytes, int(tokens.n_tokens.sum())), tokens


def make_preparer(spec: WorkerSpec, concurrency: int | None = None) -> Preparer:
    """A lane's fetcher, decoder and views, from its config."""
    fetch = spec.fetch
    fetcher = Fetcher(fetch.limits, fetch.policy, spec.storage)
    contents: Contents = InMemory(fetcher, concurrency)
    if spec.modality in {Modality.AUDIO, Modality.VIDEO}:
        limit_bytes, most_bytes = fetch.disk_bytes, fetch.max_file_bytes
        contents = OnDisk(
            MediaFiles(fetcher, Path(spec.media_dir), limit_bytes=limit_bytes, max_object_bytes=most_bytes)
        )
    settings = DecodeSettings(fetch.images, fetch.media, OnDamage(spec.on_damage), spec.threads)
    return Preparer(contents, spec.modality, spec.views, settings)


def _prepared(report: ItemReport) -> PreparedItem:
    match report.ended:
        case Failed(failure=failure, disposition=disposition):
            if disposition is Disposition.STOP:
                raise InvariantError(f"{failure.code}: {failure.message}")
            return PreparedItem(report.facts, ended=failure, transient=disposition is Disposition.RETRY)
        case NotMine(modality=modality):
            return PreparedItem(report.facts, ended=VoidReason.NOT_MINE, elsewhere=modality)
        case EmptyReason():
            return PreparedItem(report.facts, ended=report.ended)
        case None:
            rows = {view: RowSpan(cut.row, cut.windows) for view, cut in report.cuts.items()}
            return PreparedItem(report.facts, rows, report.cursor, report.forks)


def _report(error: Exception, code: str, started_s: float) -> CallReport:
    busy_s = time.perf_counter() - started_s
    if isinstance(error, MediatokError):
        return CallReport(busy_s, error.failure(), error.disposition is Disposition.STOP)
    wrapped = TokenizeFailedError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
    failure = wrapped.failure()
    return CallReport(busy_s, Failure(code, code.partition(".")[0], failure.message, failure.stack))


def _checked(tokens: TokenBatch, windows: int) -> TokenBatch:
    if len(tokens) != windows:
        raise TokenizeFailedError(f"{windows} windows gave {len(tokens)} token sequences")
    return tokens


def _device(spec: WorkerSpec) -> str:
    if spec.gpus == 0:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    if spec.gpus < 1:
        # A share is one of the device's memory too: what asks for more fails here, not in a neighbour.
        torch.cuda.set_per_process_memory_fraction(spec.gpus, 0)
    return "cuda:0"


def _end_process(departure: Departure) -> None:
    print(memory_failure(departure), file=sys.stderr)  # noqa: T201  nobody else is there to say it
    os._exit(1)


def _limit_threads(threads: int) -> None:
    """Torch takes all cores by default; where no tokenizer has loaded it, it stays unloaded: that takes seconds."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
