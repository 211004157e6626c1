"""`python -m tests.load`: a constant offered rate for a while, and what that costs in time and memory."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.observe import units
from tests.load.figures import Figures, Growth, growth, latencies
from tests.load.offered import Due, Offer, Place, schedule
from tests.load.plot import Points, as_svg
from tests.load.processes import Memory, MemoryWatch
from tests.load.stage import DRAIN_S, Setting, Stage, lag, parse_mix

SLICE_S = 10.0


def main() -> int:
    """Run; 1 if anything published was not committed."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second, all topics together (%(default)s)")
    parser.add_argument("--minutes", type=float, default=20.0, help="(%(default)s)")
    parser.add_argument("--mix", type=parse_mix, default="image=5,audio=1,text=4", help="weights (%(default)s)")
    parser.add_argument("--seal-age", type=float, default=5.0, help="limits.seal_age_s (%(default)s)")
    parser.add_argument("--commit", type=float, default=1.0, help="commit.interval_s (%(default)s)")
    parser.add_argument("--local", action="store_true", help="media and lake in folders instead of S3")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--folder", type=Path, help="for data, logs and results; a new one by default")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="load-"))
    folder.mkdir(parents=True, exist_ok=True)
    setting = Setting(given.mix, given.seal_age, given.commit, given.local, given.seed)
    messages = schedule(given.rate, given.minutes * 60, given.mix, given.seed)
    print(f"{given.rate:g} messages/s for {given.minutes:g} minutes; logs and results in {folder}", flush=True)
    figures = load(folder, setting, messages, given.rate)
    print(table(figures))
    return 1 if figures.lost or figures.refused else 0


def load(folder: Path, setting: Setting, messages: Sequence[Due], rate_hz: float) -> Figures:
    """Publish and measure. Writes load.json and load.svg into the folder."""
    with Stage(folder, setting) as stage:
        print("all workers are warm", flush=True)
        offer = Offer(stage.kafka.bootstrap, messages, stage.values)
        memory = MemoryWatch(stage.mark, stage.coordinator)
        memory.start()
        offer.start()
        lags = _watch(stage, offer)
        due, end_s = offer.due_at_s, time.time()
        uncommitted = len(due.keys() - stage.follower.seen_at_s.keys())
        drained = stage.wait(lambda: due.keys() <= stage.follower.seen_at_s.keys(), DRAIN_S)
        drained_s = time.time() - end_s if drained else None
        memory.close()
        code = stage.stop() if stage.alive else None
        if code != 0:
            print(f"the run ended with {code}:\n{stage.tail()}")
        seen = stage.follower.seen_at_s
    committed = [seen[place] for place in due if place in seen]
    figures = Figures(
        latency=latencies(due, seen),
        offered_hz=rate_hz,
        committed_hz=len(committed) / (max(committed) - offer.began_s) if committed else 0.0,
        messages=len(due),
        uncommitted=uncommitted,
        drained_s=drained_s,
        lost=len(due) - len(committed),
        refused=offer.refused,
        late_s=offer.late_s,
        letters=stage.follower.letters,
        memory=_growth(memory.samples),
    )
    (folder / "load.json").write_text(json.dumps(figures.as_json(), indent=1) + "\n")
    charts = _charts(due, seen, memory.samples, lags, offer.began_s)
    title = f"{rate_hz:g} messages/s offered, {figures.committed_hz:.1f} committed"
    (folder / "load.svg").write_text(as_svg(title, charts), encoding="utf-8")
    return figures


def _watch(stage: Stage, offer: Offer) -> list[tuple[float, float]]:
    """Until the schedule's end: (seconds since 1970, messages not committed), now and then, with a line each."""
    lags: list[tuple[float, float]] = []
    next_s = time.time()
    while offer.under_way and stage.alive:
        time.sleep(0.5)
        if time.time() >= next_s:
            next_s += SLICE_S
            lags.append((time.time(), float(lag(stage.status))))
            published, seen = offer.due_at_s.keys(), stage.follower.seen_at_s.keys()
            done = f"{len(published)} published  {len(published & seen)} committed"
            print(f"{time.time() - offer.began_s:6.0f} s  {done}", flush=True)
    return lags


def _growth(samples: Sequence[Memory]) -> dict[str, Growth]:
    return {
        "coordinator": growth([(each.at_s, each.coordinator_bytes) for each in samples]),
        **{
            kind: growth([(each.at_s, each.by_kind_bytes[kind]) for each in samples])
            for kind in sorted(samples[0].by_kind_bytes)
        },
        "all processes": growth([(each.at_s, each.all_bytes) for each in samples]),
    }


def _charts(
    due: dict[Place, float],
    seen: dict[Place, float],
    samples: Sequence[Memory],
    lags: Sequence[tuple[float, float]],
    began_s: float,
) -> dict[str, dict[str, Points]]:
    latency: dict[str, Points] = {}
    slices: dict[int, dict[Place, float]] = {}
    for place, due_s in due.items():
        slices.setdefault(int((due_s - began_s) // SLICE_S), {})[place] = due_s
    judged = [(at * SLICE_S, latencies(part, seen)["all"]) for at, part in sorted(slices.items()) if part.keys() & seen]
    for name in ("p50_s", "p99_s", "max_s"):
        latency[name.removesuffix("_s")] = [(at, getattr(each, name)) for at, each in judged]
    memory = {
        "coordinator": [(each.at_s - began_s, each.coordinator_bytes / 1e6) for each in samples],
        **{
            kind: [(each.at_s - began_s, each.by_kind_bytes[kind] / 1e6) for each in samples]
            for kind in sorted(samples[0].by_kind_bytes)
        },
        "all processes": [(each.at_s - began_s, each.all_bytes / 1e6) for each in samples],
    }
    waiting = {"": [(at - began_s, value) for at, value in lags]}
    return {"publish to commit, s": latency, "memory, MB": memory, "not committed, messages": waiting}


def table(figures: Figures) -> str:
    """As people read it."""
    lines = [f"{'publish to commit':20}{'messages':>10}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"]
    for topic, each in figures.latency.items():
        times = "".join(f"{value:8.2f}s" for value in (each.p50_s, each.p90_s, each.p99_s, each.max_s))
        lines.append(f"{topic:20}{each.messages:10}{times}")
    lines.append(f"\n{'memory, MB':20}{'start':>10}{'peak':>9}{'end':>9}{'MB/h':>9}")
    for name, each in figures.memory.items():
        slope = "–" if each.slope_mb_h is None else f"{each.slope_mb_h:.0f}"
        lines.append(f"{name:20}{each.start_mb:10.0f}{each.peak_mb:9.0f}{each.end_mb:9.0f}{slope:>9}")
    drained = "never" if figures.drained_s is None else units.duration(figures.drained_s)
    lines.append(
        f"\noffered {figures.offered_hz:g}/s, committed {figures.committed_hz:.1f}/s; not committed at the end of the "
        f"schedule: {figures.uncommitted}, done after: {drained}\nlost {figures.lost}, refused by the broker "
        f"{figures.refused}, published late by at most {figures.late_s:.2f} s, dead letters {figures.letters}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
