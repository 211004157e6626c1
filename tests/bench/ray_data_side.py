"""Ray Data with the pipeline's operators, tuned as its documentation says. Run by `tests.bench.rival`.

What its guides advise (data/performance-tips, data/execution-configurations, data/batch_inference, Ray 2.60), and what
is done here:

- classes, not functions, in an actor pool of fixed size, so that each process builds its operators once;
- Arrow batches in and out, no copy through pandas;
- as many blocks as give every actor several, each of a few batches, since small blocks cost the driver more than their
  work: `override_num_blocks`;
- order not preserved;
- the list of files lies in memory: no read tasks, so none that actors on all CPUs could starve (with two actors of one
  CPU each on two CPUs and a list that is read from Parquet, nothing ever begins: ray-project/ray#44687, and
  `python -m tests.bench rivals --trap`);
- actors take less than all CPUs, so that the writing tasks, with small shares, fit beside them;
- uncompressed Parquet: codes don't compress, and ours are not compressed either.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from ray.data import ActorPoolStrategy

from tests.bench.operators import Preparing, Tokenizing, Whole
from tests.bench.rival import Job, serve, table_of

BATCHES_A_BLOCK = 4
WRITER_CPUS = 0.1
"""A share for each writing task: they wait for disks and take little of a core."""
ACTORS_SHARE = 0.75
"""Of the machine's CPUs, all actors together: the rest is for the writers."""


class RayWhole(Whole):
    """One stage."""

    def __call__(self, batch: pa.Table) -> pa.Table:  # type: ignore[override]
        paths = batch["path"].to_pylist()
        return table_of(paths, super().__call__(paths))


class RayPreparing(Preparing):
    """The first of two stages."""

    def __call__(self, batch: pa.Table) -> pa.Table:  # type: ignore[override]
        return pa.table({"part": pa.array(super().__call__(batch["path"].to_pylist()), pa.large_binary())})


class RayTokenizing(Tokenizing):
    """The second."""

    def __call__(self, batch: pa.Table) -> pa.Table:  # type: ignore[override]
        found = super().__call__(batch["part"].to_pylist())
        return table_of([path for path, _ in found], [[tokens] for _, tokens in found])


def does(job: Job) -> None:
    """The whole job, with a Ray of its own."""
    options: Mapping[str, Any] = job.options
    ray.init("local", include_dashboard=False, log_to_driver=False, object_store_memory=1 << 30)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = False
    context.enable_progress_bars = False
    work, batch = job.work, int(options.get("batch") or job.work.batch)
    cpus = ray.cluster_resources()["CPU"]
    marks = Path(job.marks)
    if options.get("trap"):
        listing = Path(job.marks).parent / "paths.parquet"
        pq.write_table(pa.table({"path": list(job.paths)}), listing)
        files = ray.data.read_parquet(str(listing))
        share = cpus / work.workers
    else:
        blocks = max(2 * work.workers, len(job.paths) // (batch * BATCHES_A_BLOCK))
        rows = [{"path": path} for path in job.paths]
        files = ray.data.from_items(rows, override_num_blocks=min(blocks, len(rows)))
        share = float(options.get("share", ACTORS_SHARE)) * cpus / work.workers
    common: dict[str, Any] = {"batch_format": "pyarrow", "fn_constructor_args": (work, marks)}
    pool = ActorPoolStrategy(size=work.workers)
    if options.get("stages") == 2:
        # As many processes of each as there are cores, at half their share: the system balances what is unequal.
        common |= {"compute": pool, "num_cpus": share / 2}
        parts = files.map_batches(RayPreparing, batch_size=batch, **common)
        tokens = parts.map_batches(RayTokenizing, batch_size=1, **common)
    else:
        tokens = files.map_batches(RayWhole, batch_size=batch, compute=pool, num_cpus=share, **common)
    tokens.write_parquet(job.out, ray_remote_args={"num_cpus": WRITER_CPUS}, compression="none")


if __name__ == "__main__":
    serve(sys.argv[1:], does)
