"""A call that never ends: its worker is killed after the deadline, and only the item that hangs becomes a letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.coordinator import EndReason
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.running import Ended, lanes, reference, run, send

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(400)]

TEXTS = 40
HANGS = 7


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Ended:
    folder: Path = tmp_path_factory.mktemp("hangs")
    with EmbeddedBroker() as broker:
        broker.create(["text"])
        texts = ["zzz" if n == HANGS else f"text {n}" for n in range(TEXTS)]
        send(broker, [reference("text", uri=f"t{n}", text=text) for n, text in enumerate(texts)])
        limits = {"prepare_batch": 8, "tokenize_windows": 8, "seal_age_s": 0.5, "call_deadline_s": 3.0}
        workers = {"max": 2, "cpus": 0.5}
        failures = {"window_s": 1.0, "most_share": 1.0}
        return run(folder, broker, lanes(text={"limits": limits, "workers": workers, "failures": failures}))


def test_the_run_ends_by_itself(ended: Ended) -> None:
    assert ended.reason is EndReason.IDLE


def test_what_hangs_becomes_a_letter_that_says_so(ended: Ended) -> None:
    letters = ended.letters("letters")
    assert set(letters) == {HANGS}
    assert letters[HANGS].failure.code == "worker.killed"
    assert "no answer for" in letters[HANGS].failure.message
    assert "last seen in pretend.py:" in letters[HANGS].failure.message


def test_everything_else_has_its_rows(ended: Ended) -> None:
    assert sorted(ended.rows("letters")["offset"].to_pylist()) == [n for n in range(TEXTS) if n != HANGS]
    ended.verified()


def test_no_more_workers_were_killed_than_it_takes_to_find_it(ended: Ended) -> None:
    # Halved from eight to one, then alone until the third death.
    assert 3 <= ended.built.coordinator.lanes[0].driver.pools[0].deaths <= 6
