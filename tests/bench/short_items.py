"""p99 of short items at a constant rate, beside as many long ones as there are decoders, against without them.

Twice: images in a lane of their own beside films in theirs; and clips of 10 s in the very lane that has recordings of
hours. What counts is the time from when an item was due to when its tokens are ready; until it is in the lake stands
beside it. All on one host: what films take of its cores, images lack, unless the system shares them well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from rich.console import Console

from operators.records import Modality
from pipeline.app.build import build, plan_and_start
from pipeline.config import Config, parse_config
from pipeline.flow.calls import Action, Pack
from pipeline.graph import LanePlan
from pipeline.runtime.intake import Claims
from pipeline.runtime.lane_run import LaneRun
from pipeline.runtime.pool import WorkerState
from pipeline.source.base import Positions, Source
from tests.bench.paced import SHORT, Enough, Latencies, PacedSource
from tests.bench.pictures import make_pictures
from tests.bench.recordings import make_sounds
from tests.bench.results import Figure, Results, Wish
from tests.bench.sums import quantile
from tests.making.long import long_film, long_sound

WANTED = 2.0
LEAD_S = 5.0
PATIENCE_S = 60.0
IMAGES_HZ = 8.0
CLIPS_HZ = 3.0
TOKENIZERS = {Modality.IMAGE: "image-rq", Modality.AUDIO: "audio-mdct", Modality.VIDEO: "video-interleaved"}


@dataclass(frozen=True, slots=True)
class Case:
    """What runs.

    Attributes:
        workers: by lane.
        short, long: which lane has them.
    """

    workers: Mapping[Modality, int]
    short: Modality
    long: Modality
    rate_hz: float


def short_items(results: Results, console: Console, seconds: float, hours: float) -> None:
    """Both cases."""
    apart = Case({Modality.IMAGE: 1, Modality.VIDEO: 1}, Modality.IMAGE, Modality.VIDEO, IMAGES_HZ)
    together = Case({Modality.AUDIO: 2}, Modality.AUDIO, Modality.AUDIO, CLIPS_HZ)
    with tempfile.TemporaryDirectory(prefix="mediatok-short-") as name:
        folder = Path(name)
        for kind in ("pictures", "clips", "long"):
            (folder / kind).mkdir()
        pictures = make_pictures(folder / "pictures", round(seconds * IMAGES_HZ))
        film = long_film(folder / "long" / "film.mp4", hours)
        _compare("images beside films in their lane", apart, pictures, [film], folder, results, console)
        clips = make_sounds(folder / "clips", 10 * round(seconds * CLIPS_HZ))
        sounds = [long_sound(folder / "long" / f"{n}.m4a", hours, rate_hz=44_100 + n * 3_900) for n in range(2)]
        _compare("clips beside recordings in one lane", together, clips, sounds, folder, results, console)


def _compare(
    what: str, case: Case, short: Sequence[Path], long: Sequence[Path], folder: Path, results: Results, console: Console
) -> None:
    without = _run(case, short, [], folder)
    beside = _run(case, short, long, folder)
    for name, of in (("tokens ready", Latencies.until_ready_s), ("in the lake", Latencies.until_committed_s)):
        p99s = [quantile(of(each), 0.99) for each in (beside, without)]
        p50s = [quantile(of(each), 0.50) for each in (beside, without)]
        wish = Wish.AT_MOST if name == "tokens ready" else None
        missing = len(short) - len(of(beside))
        note = f"p50 {p50s[0]:.3f} / {p50s[1]:.3f} s; p99 in s" + (f"; {missing} never came" if missing else "")
        told, sides = f"{what}: p99 until {name}, beside / without", (p99s[0], p99s[1])
        results.add(Figure("short", told, p99s[0] / p99s[1], "×", sides, wish, WANTED, note))
        console.print(f"{what}: p99 until {name} {p99s[0]:.3f} s, without {p99s[1]:.3f} s; {note}")
    results.details[f"short: {what}"] = {
        side: {"ready_s": each.until_ready_s(), "committed_s": each.until_committed_s()}
        for side, each in (("beside", beside), ("without", without))
    }


def _run(case: Case, short: Sequence[Path], long: Sequence[Path], folder: Path) -> Latencies:
    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as name:
        config = _config(case, Path(name), folder)
        latencies = Latencies()
        plans, nodes = plan_and_start(config)

        def ready() -> bool:
            pools = [pool for lane in built.coordinator.lanes for pool in lane.driver.pools]
            return all(pool.count(WorkerState.READY) >= case.workers[pool.spec.modality] for pool in pools)

        def make_source(lane: LanePlan, positions: Positions) -> Source:
            has_short, has_long = lane.modality is case.short, lane.modality is case.long
            return PacedSource(
                lane.name,
                short if has_short else (),
                long if has_long else (),
                positions,
                latencies,
                ready,
                rate_hz=case.rate_hz,
                lead_s=LEAD_S,
                patience_s=PATIENCE_S,
            )

        claims = Claims({modality.value: (modality,) for modality in case.workers})
        built = build(
            config, "short", make_source, claims, plans=plans, nodes=nodes, until_idle=False, show=lambda _: None
        )
        for lane in built.coordinator.lanes:
            if lane.plan.modality is case.short:
                _note_ready(lane, latencies)
        try:
            built.coordinator.run(until_idle=False)
        except Enough:
            pass
        finally:
            built.coordinator.close()
            ray.shutdown()
    return latencies


def _note_ready(lane: LaneRun, latencies: Latencies) -> None:
    """Look over the lane's shoulder as it gives tokens to the packer."""
    decide = lane.lane.actions

    def noting(now_s: float) -> list[Action]:
        actions = decide(now_s)
        for action in actions:
            if isinstance(action, Pack):
                for delivery in action.deliveries:
                    if delivery.reference.origin.partition == SHORT:
                        latencies.ready(delivery.reference.origin.offset)
        return actions

    lane.lane.actions = noting


def _config(case: Case, folder: Path, root: Path) -> Config:
    lanes = {
        modality.value: {
            "topics": [modality.value],
            "products": {TOKENIZERS[modality]: {"tokenizer": TOKENIZERS[modality]}},
            "workers": {"min": count, "max": count, "cpus": 0.9},
            "limits": {"seal_age_s": 1.0},
        }
        for modality, count in case.workers.items()
    }
    return parse_config(
        {
            "lake": str(folder / "lake"),
            "state": str(folder / "state"),
            "fetch": {"roots": [str(root)]},
            "commit": {"interval_s": 1.0},
            "lanes": lanes,
        }
    )
