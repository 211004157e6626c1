"""Several real processes on one folder, one of them killed; and what a large object costs of memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from operators.errors import StoreUnavailableError
from operators.records import MediaReference, Origin
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy, MediaFiles

ROOT = Path(__file__).parents[3]
FILM = bytes(range(256)) * 12_000
LARGE = 200 << 20

WORKER = """
import json, re, sys
from pathlib import Path
from operators.records import MediaReference, Origin
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy, MediaFiles

folder, uri, version, roots, options = json.loads(sys.argv[1])
policy = FetchPolicy(frozenset({"file", "http", "s3"}), roots=tuple(roots), allow_private_addresses=True)
fetcher = Fetcher(FetchLimits(retry_budget_s=30.0), policy, options)
files = MediaFiles(fetcher, Path(folder), limit_bytes=300 << 20, max_object_bytes=300 << 20)

def peak_kib():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

if options:
    import s3fs  # not to be counted
files.hold(MediaReference("warm", Origin("t", 0, 0, 0), inline=b"up"))
before = peak_kib()
print("asking", flush=True)
held = files.hold(MediaReference(uri, Origin("t", 0, 0, 0), version=version))
print(json.dumps([str(held.path), held.facts.sha256, held.facts.size_bytes, peak_kib() - before]), flush=True)
sys.stdin.read()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[subprocess.Popen[str]] = []

    def start(uri: str, version: str | None = None, options: Any = None) -> subprocess.Popen[str]:
        arguments = json.dumps([str(tmp_path / "held"), uri, version, [str(tmp_path)], options or {}])
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        workers.append(worker)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "asking\n"
        return worker

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()


def answer_of(worker: subprocess.Popen[str]) -> list[Any]:
    assert worker.stdout is not None
    return json.loads(worker.stdout.readline())


class Halting:
    """Sends half of the film, the rest when told to. Each answer's connection is one that asked."""

    def __init__(self, web: Any) -> None:
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.whole = 0
        web.answers["/film"] = self.answer

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", '"abc"')
        handler.send_header("Content-Length", str(len(FILM)))
        handler.end_headers()
        try:
            handler.wfile.write(FILM[:2_000_000])
            self.asked.release()
            self.go_on.wait(60)
            handler.wfile.write(FILM[2_000_000:])
        except OSError:
            return
        self.whole += 1


@pytest.mark.parametrize("version", ["abc", None])
def test_processes_share_one_download(web: Any, start: Start, version: str | None) -> None:
    halting = Halting(web)
    first = start(web.url("/film"), version)
    assert halting.asked.acquire(timeout=30)
    others = [start(web.url("/film"), version) for _ in range(2)]
    halting.go_on.set()
    answers = [answer_of(worker)[:3] for worker in (first, *others)]
    assert answers[1:] == answers[:1] * 2
    assert Path(answers[0][0]).read_bytes() == FILM
    if version is not None:
        assert len(web.requests) == 1  # without one, the others ask which it is


def test_when_the_one_that_downloads_is_killed_another_takes_over(web: Any, start: Start) -> None:
    halting = Halting(web)
    first = start(web.url("/film"), "abc")
    assert halting.asked.acquire(timeout=30)
    second = start(web.url("/film"), "abc")
    first.kill()
    assert halting.asked.acquire(timeout=30)
    halting.go_on.set()
    assert Path(answer_of(second)[0]).read_bytes() == FILM
    assert len(web.requests) == 2


def test_what_a_killed_process_held_may_be_deleted(web: Any, start: Start, tmp_path: Path) -> None:
    web.serve("/film", FILM, ETag='"abc"')
    worker = start(web.url("/film"), "abc")
    path = Path(answer_of(worker)[0])
    files = MediaFiles(
        Fetcher(FetchLimits(retry_budget_s=0), FetchPolicy()),
        tmp_path / "held",
        limit_bytes=len(FILM) + 100,
        max_object_bytes=1_000_000,
    )
    needed = MediaReference("a", Origin("t", 0, 0, 0), inline=b"x" * 1000)
    with pytest.raises(StoreUnavailableError, match="in use"):
        files.hold(needed)
    worker.kill()
    worker.wait()
    with files.holding(needed):
        assert not path.exists()
    files.close()


@pytest.mark.parametrize("store", ["http", "s3", "file"])
def test_a_large_object_never_lies_in_memory(
    store: str, web: Any, s3: Any, endpoint: str, start: Start, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"s3": {"key": "a", "secret": "b", "endpoint_url": endpoint}}
    uri = {"http": web.url("/large"), "s3": "s3://media/large", "file": str(tmp_path / "large")}[store]
    if store == "http":
        web.serve("/large", bytes(LARGE))
    elif store == "s3":
        s3.put_object(Bucket="media", Key="large", Body=bytes(LARGE))
    else:
        with (tmp_path / "large").open("wb") as file:
            file.truncate(LARGE)
    _, _, size, grown_kib = answer_of(start(uri, options=options))
    assert size == LARGE
    assert grown_kib < 48 << 10
