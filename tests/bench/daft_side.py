"""Daft with the pipeline's operators, in an environment of its own (`tests.bench.daft_env`).

As its documentation says (custom-code/cls, optimization): a class whose instances are built once a process, a method by
batches of one size, `max_concurrency` as many as there are cores, processes of their own (`use_process`), since
operators in Python would share one lock otherwise; its own runner for one machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import daft
from daft import DataType

from tests.bench.operators import Whole
from tests.bench.rival import Job, serve, table_of

TYPES = {"uint16": DataType.uint16(), "uint32": DataType.uint32(), "float32": DataType.float32()}


def does(job: Job) -> None:
    """The whole job."""
    daft.set_runner_native()
    batch = int(job.options.get("batch") or job.work.batch)
    tokens_type = DataType.list(TYPES[str(job.options["dtype"])])

    @daft.cls(max_concurrency=job.work.workers, use_process=bool(job.options.get("processes", True)))
    class Operators:
        """One stage."""

        def __init__(self, marks: str) -> None:
            self._whole = Whole(job.work, Path(marks))

        @daft.method.batch(return_dtype=tokens_type, batch_size=batch)
        def tokens(self, paths: daft.Series) -> daft.Series:
            given = paths.to_pylist()
            return daft.Series.from_arrow(table_of(given, self._whole(given))["tokens"].combine_chunks())

    files = daft.from_pydict({"path": list(job.paths)}).into_batches(batch)
    files.with_column("tokens", Operators(job.marks).tokens(files["path"])).write_parquet(job.out, compression="none")


if __name__ == "__main__":
    serve(sys.argv[1:], does)
