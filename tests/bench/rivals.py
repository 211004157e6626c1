"""The same operators through our pipeline, Ray Data and Daft: files a second, and with start-up."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.app.build import plan
from tests.bench import daft_env
from tests.bench.loads import Load
from tests.bench.operators import work_of
from tests.bench.results import Figure, Results, ratio
from tests.bench.rival import Ran, run_rival
from tests.bench.throughput import bench_config, through_pipeline

WANTED = 1.3
LIMIT_S = 300.0
TRAP_LIMIT_S = 60.0
RAY_DATA = "tests.bench.ray_data_side"
DAFT = "tests.bench.daft_side"


@dataclass(frozen=True, slots=True)
class Variant:
    """A rival, tuned in one way."""

    name: str
    module: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    limit_s: float = LIMIT_S


ONE_STAGE = Variant("Ray Data, one stage", RAY_DATA)
TWO_STAGES = Variant("Ray Data, two stages", RAY_DATA, {"stages": 2})
IN_DAFT = Variant(f"Daft {daft_env.VERSION}", DAFT)
TRAP = Variant("Ray Data, actors on all CPUs", RAY_DATA, {"trap": True}, TRAP_LIMIT_S)


def compare(
    bench: str, load: Load, amount: int, workers: int, variants: Sequence[Variant], results: Results, console: Console
) -> None:
    """Make the media, run every side, note the ratios."""
    with tempfile.TemporaryDirectory(prefix="mediatok-bench-") as name:
        folder = Path(name)
        (folder / "media").mkdir()
        paths = load.make(folder / "media", amount)
        config = bench_config(folder, load.modality, workers, {load.tokenizer: load.tokenizer}, load.options)
        (lane,) = plan(config)
        dtype = lane.products[0].product.spec.dtype
        measured = through_pipeline(config, folder / "media", len(paths))
        ours = Ran(len(paths), measured.hz, measured.whole_hz)
        ran = {"ours": ours}
        for variant in variants:
            ran[variant.name] = _run(variant, work_of(config), paths, dtype)
            console.print(_said(load, variant.name, ran[variant.name], ours))
    results.details[f"{bench}: {len(paths)} {load.what}"] = {side: asdict(each) for side, each in ran.items()}
    for variant in variants:
        results.add(*_ratios(bench, f"{len(paths):,} {load.what}", ours, variant.name, ran[variant.name]))


def _run(variant: Variant, work: Any, paths: Sequence[Path], dtype: str) -> Ran:
    python = Path(sys.executable)
    if variant.module == DAFT:
        try:
            python = daft_env.daft_python()
        except daft_env.NoDaftError as error:
            return Ran(len(paths), 0.0, 0.0, str(error))
    return run_rival(python, variant.module, work, paths, {**variant.options, "dtype": dtype}, variant.limit_s)


def _ratios(bench: str, what: str, ours: Ran, name: str, theirs: Ran) -> list[Figure]:
    if theirs.note:
        return [Figure(bench, f"{what}: {name}", 0.0, "files/s", note=theirs.note)]
    return [
        ratio(bench, f"{what}: ours / {name}", ours.hz, theirs.hz, WANTED),
        ratio(bench, f"{what}: ours / {name}, with start-up", ours.whole_hz, theirs.whole_hz),
    ]


def _said(load: Load, name: str, theirs: Ran, ours: Ran) -> str:
    if theirs.note:
        return f"{name}: {theirs.note}"
    return (
        f"{load.what}: {name} {theirs.hz:.1f} files/s ({theirs.whole_hz:.1f} with start-up), "
        f"ours {ours.hz:.1f} ({ours.whole_hz:.1f})"
    )
