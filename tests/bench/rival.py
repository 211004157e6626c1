"""One side of a comparison, run in a process of its own: its job travels as a file, its figures come back as one.

A rival that hangs is ended after a time limit, and that is its figure.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.bench.operators import Tokens, Work, flat
from tests.bench.timing import calls_in, warm_rate_hz

REPOSITORY = Path(__file__).parents[2]
GRACE_S = 15.0
TOKENS_SCHEMA = {"uint8": pa.uint8(), "uint16": pa.uint16(), "uint32": pa.uint32(), "float32": pa.float32()}


@dataclass(frozen=True, slots=True)
class Job:
    """What a rival is to do.

    Attributes:
        work: the operators.
        paths: files.
        out: an empty folder for its tokens, as Parquet.
        marks: an empty folder for what its processes note.
        options: how it is tuned.
    """

    work: Work
    paths: tuple[str, ...]
    out: str
    marks: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a rival did.

    Attributes:
        files: it was given.
        hz: files a second once all its processes worked, until its last token was written. 0.0: it hung or failed.
        whole_hz: the same with its start-up, from the first call of its library on.
        note: what went wrong, or "".
    """

    files: int
    hz: float
    whole_hz: float
    note: str = ""


def run_rival(
    python: Path, module: str, work: Work, paths: Sequence[Path], options: Mapping[str, Any], limit_s: float
) -> Ran:
    """Run `module` with an interpreter. Its `main` must be `serve(does)`."""
    with tempfile.TemporaryDirectory(prefix="mediatok-rival-") as name:
        folder = Path(name)
        (folder / "out").mkdir()
        (folder / "marks").mkdir()
        job = Job(work, tuple(map(str, paths)), str(folder / "out"), str(folder / "marks"), options)
        (folder / "job").write_bytes(pickle.dumps(job))
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [python, "-m", module, str(folder / "job"), str(folder / "answer")],
                cwd=REPOSITORY,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                _end(process)
                begun = len(calls_in(folder / "marks"))
                return Ran(len(paths), 0.0, 0.0, f"not done after {limit_s:.0f} s, {begun} calls begun: ended")
        if process.returncode:
            return Ran(len(paths), 0.0, 0.0, "failed: " + _last_line((folder / "log").read_text(errors="replace")))
        began_s, ended_s, rows = json.loads((folder / "answer").read_text())
        if rows != len(paths):
            return Ran(len(paths), 0.0, 0.0, f"failed: {rows} rows of {len(paths)} files")
        hz = warm_rate_hz(calls_in(folder / "marks"), ended_s)
        return Ran(len(paths), hz, len(paths) / (ended_s - began_s))


def serve(arguments: Sequence[str], does: Callable[[Job], None]) -> None:
    """A rival's main: do the job, check what it wrote, leave the times."""
    job_path, answer_path = map(Path, arguments)
    job: Job = pickle.loads(job_path.read_bytes())
    began_s = time.time()
    does(job)
    ended_s = time.time()
    import pyarrow.parquet as pq

    files = [path for path in Path(job.out).rglob("*.parquet") if path.stat().st_size]
    seen = {path for file in files for path in pq.read_table(file, columns=["path"])["path"].to_pylist()}
    answer_path.write_text(json.dumps([began_s, ended_s, len(seen)]))


def table_of(paths: Sequence[str], tokens: Sequence[Sequence[Tokens]]) -> pa.Table:
    """A row a file: where it is, and its tokens end to end."""
    flats = [flat(windows) for windows in tokens]
    lengths = [0]
    for each in flats:
        lengths.append(lengths[-1] + len(each))
    values = flat(flats)
    column = pa.LargeListArray.from_arrays(
        pa.array(lengths, pa.int64()), pa.array(values, TOKENS_SCHEMA[str(values.dtype)])
    )
    return pa.table({"path": pa.array(list(paths)), "tokens": column})


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kindly, so that a Ray of its own ends with it; then not. Its group is its own: nothing else is in it."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, how)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        return


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
