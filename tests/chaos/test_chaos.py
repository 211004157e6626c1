"""Two rounds of chaos with a fixed seed: the harness works, and what it kills comes back whole."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from infra.services import ServiceUnavailableError, install_kafka, install_versitygw
from tests.chaos.audit import Audit
from tests.chaos.faults import Fault, draw
from tests.chaos.rounds import Rounds
from tests.chaos.small_disk import NoSmallDiskError, SmallDisk
from tests.chaos.stage import Setting, Stage
from tests.integration.independent_count import Count

SEED = 38
"""Store and coordinator killed; then a packer: a fresh Ray for everybody would take a minute of CI."""
ROUNDS = 2


def test_the_same_seed_draws_the_same_faults() -> None:
    def rounds(seed: int) -> list[object]:
        rng = random.Random(seed)
        return [draw(rng, 2, list(Fault), number) for number in range(len(Fault))]

    assert rounds(1) == rounds(1)
    assert rounds(1) != rounds(2)


def test_a_few_rounds_strike_with_every_fault() -> None:
    rng = random.Random(1)
    struck = {strike.fault for number in range(len(Fault)) for strike in draw(rng, 2, list(Fault), number)}
    assert struck == set(Fault)


def test_an_audit_with_anything_amiss_says_what() -> None:
    assert Audit(Count(messages=3, rows=3, letters=1), forgotten=0, wrong=0, examples=()).failures == {}
    amiss = Audit(Count(lost=1, repeated=2, unknown=3, uncovered=4), forgotten=5, wrong=6, examples=())
    assert sum(amiss.failures.values()) == 21


def test_a_small_disk_is_full_when_filled_and_has_room_when_freed(tmp_path: Path) -> None:
    try:
        disk = SmallDisk(tmp_path, 2 << 20)
    except NoSmallDiskError as error:
        pytest.skip(f"no mounts here: {error}")
    with disk:
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.path / "more").write_bytes(b"x" * 8192)
        disk.free()
        (disk.path / "more").write_bytes(b"x" * 8192)
        assert not list(tmp_path.iterdir()), "it is seen through the namespace alone"


@pytest.mark.services
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_two_rounds_lose_and_repeat_nothing(tmp_path: Path) -> None:
    _install()
    with Stage(tmp_path, Setting(seed=SEED)) as stage:
        rounds = Rounds(stage, SEED)
        rounds.warm_up()
        reports = [rounds.play(number) for number in range(ROUNDS)]
        stage.publisher.pause()
        codes = stage.supervisor.close()
        verified = stage.verify()
    said = "\n".join(report.line for report in reports)
    assert not any(report.failures for report in reports), said
    assert all(report.audit.count.letters and report.audit.count.empties for report in reports), said
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert 0 in codes, "SIGTERM drains"


def _install() -> None:
    try:
        install_kafka()
        install_versitygw()
    except ServiceUnavailableError as error:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"CI needs Kafka and S3: {error}", pytrace=False)
        pytest.skip(f"needs a real service: {error}")
