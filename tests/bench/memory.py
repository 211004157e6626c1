"""Memory over time, with a film of two hours and with a sink that takes a tenth of what the workers could make.

Looked at twice a second: what each process has for itself (`RssAnon`, its libraries' data included), what lies in Ray's
object store and what that has spilled. The budget is what the config grants to windows and tokens; a curve is flat
where the line through its last two thirds rises by less than a twentieth.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from rich.console import Console

from operators.records import Modality
from pipeline.app.build import build, claims_of, plan_and_start
from pipeline.config import Config, parse_config
from pipeline.lake.open_store import open_store
from pipeline.runtime import packer_actor
from pipeline.source.listing import freeze
from pipeline.source.listing_source import ListingSource
from tests.bench.pictures import make_pictures
from tests.bench.results import Figure, Results, Wish
from tests.bench.slow_sink import SLOW_S, slow_packer
from tests.bench.sums import flatness
from tests.making.long import long_film

MIB = 1 << 20
LOOK_S = 0.5
FILM = "video-interleaved"
PATCHES = "image-patches"
"""Of one picture 768 KiB of tokens: a sink that lags is felt at once."""
FLAT = 0.05
WINDOW_MIB, TOKEN_MIB = 128, 64
TIMES_SLOWER = 10.0


@dataclass
class Watch:
    """What was seen, by what; in MiB, over seconds."""

    curves: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    spilled_bytes: int = 0
    _began_s: float = field(default_factory=time.monotonic)

    def look(self, pids: Mapping[str, int]) -> None:
        """Once."""
        at_s = time.monotonic() - self._began_s
        held: dict[str, float] = defaultdict(float)
        for name, pid in pids.items():
            kind = "workers" if "/" in name else name.partition(" ")[0]
            held[kind] += anon_bytes(pid) / MIB
        store = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address)).store_stats
        self.spilled_bytes = max(self.spilled_bytes, int(store.spilled_bytes_total))
        held["object store"] = store.object_store_bytes_used / MIB
        for kind, mib in held.items():
            self.curves[kind].append((at_s, mib))


def anon_bytes(pid: int) -> int:
    """What a process has for itself; 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def memory(results: Results, console: Console, hours: float, images: int, workers: int) -> None:
    """Both, and their figures and plots."""
    with tempfile.TemporaryDirectory(prefix="mediatok-memory-") as name:
        folder = Path(name)
        (folder / "films").mkdir()
        long_film(folder / "films" / "film.mp4", hours)
        watch, seconds = watched(_config(folder / "film", Modality.VIDEO, FILM, workers), folder / "films")
        _note(results, "film", f"a film of {hours:g} h ({seconds:.0f} s)", watch)
        (folder / "pictures").mkdir()
        (folder / "few").mkdir()
        make_pictures(folder / "pictures", images)
        make_pictures(folder / "few", max(64, images // 4))
        # How fast the workers are, to know what a tenth of that is; start-up left out by the watch's own clock.
        few, fast_s = watched(_config(folder / "fast", Modality.IMAGE, PATCHES, workers), folder / "few")
        del few
        rate_hz = max(64, images // 4) / fast_s
        with slowed(TIMES_SLOWER / rate_hz):
            watch, seconds = watched(_config(folder / "slow", Modality.IMAGE, PATCHES, workers), folder / "pictures")
        what = f"a sink that takes {rate_hz / TIMES_SLOWER:.1f} of {rate_hz:.0f} images/s ({seconds:.0f} s)"
        _note(results, "slow-sink", what, watch)
    console.print(f"memory: curves in {results.out}/memory-film.svg and memory-slow-sink.svg")


def watched(config: Config, media: Path) -> tuple[Watch, float]:
    """A run over a folder, looked at from the first worker's start on; and how long it took from the first answer."""
    store = open_store(config.lake)
    listings = freeze([str(media)], store, {})
    claims = claims_of(config, lambda _: [listing.source_id for listing in listings])
    plans, nodes = plan_and_start(config)
    built = build(
        config,
        "memory",
        lambda _, positions: ListingSource(listings, store, positions),
        claims,
        plans=plans,
        nodes=nodes,
        until_idle=True,
        show=lambda _: None,
    )
    (lane,) = built.coordinator.lanes
    began: list[float] = []

    def look() -> None:
        if lane.driver.tally.prepared and not began:
            began.append(time.monotonic())
        if began:
            watch.look({"coordinator": os.getpid(), **lane.driver.pids})

    watch = Watch()
    with sampling(look):
        try:
            built.coordinator.run(until_idle=True)
            seconds = time.monotonic() - (began[0] if began else time.monotonic() - 1)
        finally:
            built.coordinator.close()
    ray.shutdown()
    return watch, seconds


@contextlib.contextmanager
def sampling(look: Callable[[], None]) -> Generator[None]:
    """Call `look` every so often in a thread of its own; what it raises is raised at the end.

    Raises:
        Exception: whatever `look` raised first.
    """
    done, raised = threading.Event(), list[Exception]()

    def loop() -> None:
        while not done.wait(LOOK_S):
            try:
                look()
            except Exception as error:  # noqa: BLE001  raised again by the caller's thread
                raised.append(error)
                return

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if raised:
        raise raised[0]


@contextlib.contextmanager
def slowed(pause_s: float) -> Generator[None]:
    """Packers that are made within take so long for each delivery."""
    real = packer_actor._make
    os.environ[SLOW_S] = str(pause_s)
    packer_actor._make = slow_packer
    try:
        yield
    finally:
        packer_actor._make = real
        del os.environ[SLOW_S]


def _config(folder: Path, modality: Modality, tokenizer: str, workers: int) -> Config:
    """Budgets small enough to be felt."""
    folder.mkdir()
    limits: dict[str, Any] = {"window_bytes": WINDOW_MIB * MIB, "token_bytes": TOKEN_MIB * MIB, "seal_age_s": 5.0}
    lane = {
        "products": {tokenizer: {"tokenizer": tokenizer}},
        "workers": {"min": workers, "max": workers},
        "limits": limits,
    }
    return parse_config(
        {
            "lake": str(folder / "lake"),
            "state": str(folder / "state"),
            "fetch": {"roots": [str(folder.parent)]},
            "lanes": {modality.value: lane},
        }
    )


def _note(results: Results, name: str, what: str, watch: Watch) -> None:
    budget = float(WINDOW_MIB + TOKEN_MIB)
    store = watch.curves["object store"]
    results.curve(f"memory-{name}", f"Memory with {what}", "MiB", watch.curves, budget)
    results.details[f"memory: {what}"] = {"budget_mib": budget, "curves": watch.curves}
    peak = max(mib for _, mib in store)
    results.add(
        Figure("memory", f"{what}: object store, most", peak, "MiB", None, Wish.AT_MOST, budget, "the budget"),
        Figure("memory", f"{what}: spilled", watch.spilled_bytes / MIB, "MiB", None, Wish.AT_MOST, 0.0),
    )
    for kind, curve in watch.curves.items():
        flat = flatness(curve)
        most = max(mib for _, mib in curve)
        # The store breathes with its batches: for it, the budget is what counts.
        wish = None if kind == "object store" else Wish.AT_MOST
        note = f"{flat.level:.0f} MiB, most {most:.0f}"
        results.add(Figure("memory", f"{what}: rise of {kind}", flat.share, "of it", None, wish, FLAT, note))
