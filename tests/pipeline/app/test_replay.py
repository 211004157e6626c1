from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from operators.errors import ConfigError
from pipeline.app.replay import run_replay
from pipeline.runtime import cluster
from tests.pipeline.app.jobs_world import PRETEND, JobsWorld

PRODUCTS = {"first": {"tokenizer": f"{PRETEND}:Letters"}, "second": {"tokenizer": f"{PRETEND}:Letters"}}
SUCCESSOR = PRODUCTS | {"first": {"tokenizer": f"{PRETEND}:Other", "revision": 2}}


@pytest.fixture
def world(tmp_path: Path) -> JobsWorld:
    return JobsWorld(tmp_path)


def replay(
    world: JobsWorld,
    products: Mapping[str, Mapping[str, Any]] = PRODUCTS,
    *,
    product: str | None = None,
    code: str | None = None,
    dry_run: bool = False,
) -> int:
    return run_replay(world.configure(products), "run.yaml", product, code, None, dry_run=dry_run)


@pytest.mark.ray
def test_mended_files_close_their_letters_and_what_fails_again_stays_one(
    world: JobsWorld, ray_session: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "stop", lambda: None)
    world.configure(PRODUCTS)
    rows = [
        {"uri": world.text("good.txt", b"good")},
        {"uri": world.text("late.txt", None)},
        {"uri": world.text("never.txt", None)},
        {"uri": world.text("odd.txt", b"\x00\x01\x02\x03" * 100)},
    ]
    assert world.backfill(rows) == 0
    before = world.letters("first")
    assert [letter.failure.code for letter in before] == ["fetch.not_found", "fetch.not_found", "decode.not_text"]
    assert world.texts("second") == ["good"]

    assert replay(world, dry_run=True) == 0
    assert world.letters("first") == before
    world.text("late.txt", b"late")
    world.text("odd.txt", b"mended")
    assert replay(world, code="fetch.*") == 0
    assert "2 letters are closed, 2 are open" in capsys.readouterr().out
    assert world.texts("first") == world.texts("second") == ["good", "late"]
    again, odd = world.letters("first")
    assert (again.failure.code, again.attempts) == ("fetch.not_found", 2)
    assert again.at_ms > before[1].at_ms
    assert odd == before[2], "it was not chosen"
    world.verified()

    assert replay(world, product="second") == 0
    assert world.texts("first") == ["good", "late"]
    assert world.texts("second") == ["good", "late", "mended"]
    assert [letter.attempts for letter in world.letters("second")] == [3]

    world.text("never.txt", b"never")
    assert replay(world, SUCCESSOR) == 0, "a closed predecessor's letters go into the product of its name"
    version = world.lake().state.version
    assert replay(world, SUCCESSOR) == 0, "replayed once more it adds nothing"
    assert "no open letters" in capsys.readouterr().out
    assert world.lake().state.version == version
    assert not [*world.letters("first"), *world.letters("second")]
    assert world.texts("second") == ["good", "late", "mended", "never"]
    assert world.texts("first") == ["mended", "never"], "the successor's"
    assert world.verified().ok


def test_a_lake_that_is_not_there_is_refused(world: JobsWorld) -> None:
    world.configure(PRODUCTS)
    with pytest.raises(ConfigError, match="no lake"):
        replay(world)
