"""Workers that leave for their memory, on real Ray: who is replaced, who is blamed, and that no innocent is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import ray.exceptions

from operators.records import Modality, WindowBatch
from pipeline.runtime.memory import Leaving
from pipeline.runtime.pool import Pool
from pipeline.runtime.worker import FetchSettings, WorkerSpec
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.leaky import HOG
from tests.pipeline.runtime.running import Ended, Sent, reference, run, send

pytestmark = [pytest.mark.ray, pytest.mark.soak]

LEAKY = "tests.pipeline.runtime.leaky:Leaky"
LIMIT_BYTES = 400_000_000
"""A worker of these lanes starts with about 120 MB of its own."""
HOG_MB = 600
TEXTS = 600


def texts(count: int, hogs: frozenset[int] = frozenset()) -> list[Sent]:
    begin = {number: HOG.decode() if number in hogs else "text" for number in range(count)}
    return [reference("text", uri=f"t{n}", text=f"{begin[n]} number {n}") for n in range(count)]


def told(folder: Path, sent: list[Sent], **options: Any) -> Ended:
    lane = {
        "modality": "text",
        "topics": ["text"],
        "products": {"letters": {"tokenizer": LEAKY, "options": options}},
        "workers": {"max": 1, "cpus": 0.5, "memory_bytes": LIMIT_BYTES},
        "limits": {"prepare_batch": 32, "tokenize_windows": 32, "seal_age_s": 0.5},
        "failures": {"window_s": 1.0, "most_share": 1.0},
    }
    with EmbeddedBroker() as broker:
        broker.create(["text"])
        send(broker, sent)
        return run(folder, broker, {"texts": lane})


def test_a_leaking_worker_leaves_and_no_innocent_becomes_a_letter(tmp_path: Path, ray_session: None) -> None:
    ended = told(tmp_path, texts(TEXTS), leak_mb=50)
    (pool,) = ended.built.coordinator.lanes[0].driver.pools
    assert pool.left_for_memory >= 2
    assert pool.deaths == 0
    (tally,) = ended.verified().products
    assert (tally.messages, tally.items_with_rows, tally.letters) == (TEXTS, TEXTS, 0)


def test_a_text_that_takes_too_much_in_one_call_is_found_among_innocents(tmp_path: Path, ray_session: None) -> None:
    hogs = frozenset({37})
    ended = told(tmp_path, texts(64, hogs), hog_mb=HOG_MB)
    (pool,) = ended.built.coordinator.lanes[0].driver.pools
    letters = ended.letters("letters")
    assert set(letters) == hogs
    assert letters[37].failure.code == "worker.killed"
    assert "over its memory" in letters[37].failure.message
    assert pool.left_for_memory >= 3
    assert pool.deaths == 0
    assert sorted(ended.rows("letters")["offset"].to_pylist()) == [n for n in range(64) if n not in hogs]


def test_an_actor_that_ends_itself_in_mid_call_leaves_its_words(ray_session: None) -> None:
    tokenizers = {"letters": (LEAKY, {"hog_mb": HOG_MB})}
    spec = WorkerSpec(
        *("text", Modality.TEXT, ("letters",), ("utf8:4096",), tokenizers, FetchSettings(), {}, "", "refuse", 1, 0.0),
        memory_bytes=LIMIT_BYTES,
    )
    pool = Pool("texts/tokenize", spec, 0.1)
    worker = pool.start()
    pool.warmed(worker)
    view = _one_text(b"hog number 1")
    first, behind = worker.tokenize.remote("letters", [(0, 1)], view), worker.tokenize.remote("letters", [(0, 1)], view)
    for ref in (first[0], behind[0]):
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref, timeout=60)
    words = pool.last_words(worker.name)
    assert words is not None
    assert words.reason is Leaving.MEMORY_IN_CALL
    assert pool.last_words(worker.name) is None
    pool.stop()


def _one_text(text: bytes) -> WindowBatch:
    return WindowBatch("utf8:4096", np.frombuffer(text, np.uint8), np.asarray([len(text)], np.int64))
