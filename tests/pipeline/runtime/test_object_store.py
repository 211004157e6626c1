from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs

from operators.errors import ConfigError
from pipeline.config import Config, parse_config
from pipeline.runtime.object_store import CALM_S, PERIOD_S, StoreUse, StoreWatch, lane_share, store_notes

GIB, MIB = 1 << 30, 1 << 20


def config(store_bytes: int, *lane_bytes: int, address: str = "local") -> Config:
    """Lanes that may hold so much each."""
    lanes: dict[str, Any] = {
        name: {
            "products": {f"{name}-bytes": {"tokenizer": "text-bytes"}},
            "modality": "text",
            "limits": {"window_bytes": size // 2, "token_bytes": size // 2},
        }
        for name, size in zip("abcdef", lane_bytes, strict=False)
    }
    ray = {"object_store_bytes": store_bytes, "address": address}
    return parse_config({"lake": "lake", "ray": ray, "lanes": lanes})


def test_a_store_that_holds_all_lanes_and_fits_into_shared_memory_needs_no_note() -> None:
    assert store_notes(config(GIB, 400 * MIB, 400 * MIB), 2 * GIB) == ()


def test_a_store_that_shared_memory_is_too_small_for_is_told_of() -> None:
    (note,) = store_notes(config(GIB, MIB), 64 * MIB)
    assert "/dev/shm has 64MiB left" in note
    assert "--shm-size=1.10GiB" in note


def test_a_store_that_ray_would_refuse_is_refused_in_plain_words() -> None:
    with pytest.raises(ConfigError, match=r"ray.object_store_bytes: 20.00GiB, but /dev/shm has 64MiB left"):
        store_notes(config(20 * GIB, MIB), 64 * MIB)


def test_lanes_that_may_hold_more_than_the_store_are_told_of_and_scaled_down() -> None:
    crowded = config(GIB, 1 * GIB, 3 * GIB)
    (note,) = store_notes(crowded, 2 * GIB)
    assert "1.00GiB (a) + 3.00GiB (b)" in note
    assert "each gets 20%" in note
    assert lane_share(crowded) == pytest.approx(0.2)


def test_lanes_that_fit_have_their_whole_budgets() -> None:
    assert lane_share(config(GIB, 400 * MIB, 400 * MIB)) == 1.0


def test_a_cluster_that_is_joined_has_a_store_of_its_own() -> None:
    joined = config(64 * MIB, GIB, address="auto")
    assert store_notes(joined, 0) == ()
    assert lane_share(joined) == 1.0


class Instantly(ThreadPoolExecutor):
    """Has each answer before the next look."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        future = super().submit(fn, *args, **kwargs)
        future.exception()
        return future


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StoreWatch, list[StoreUse | Exception]]]:
    monkeypatch.setattr("pipeline.runtime.object_store.ThreadPoolExecutor", Instantly)
    uses: list[StoreUse | Exception] = []

    def read() -> StoreUse:
        use = uses[-1]
        if isinstance(use, Exception):
            raise use
        return use

    watch = StoreWatch(read)
    yield watch, uses
    watch.close()


def looked(watch: StoreWatch, until_s: float, from_s: float = 0.0) -> int | None:
    answer = None
    for second in range(int(from_s), int(until_s) + 1):
        answer = watch.look(float(second))
    return answer


Watched = tuple[StoreWatch, list[StoreUse | Exception]]


def test_what_was_written_to_disk_before_the_run_does_not_count(watched: Watched) -> None:
    watch, uses = watched
    uses.append(StoreUse(used=5, spilled=700))
    assert looked(watch, PERIOD_S) == 0
    uses.append(StoreUse(used=5, spilled=750))
    assert looked(watch, 3 * PERIOD_S, PERIOD_S + 1) == 50
    assert watch.used_bytes == 5


def test_writes_to_disk_are_warned_of_once_an_episode(watched: Watched) -> None:
    watch, uses = watched
    uses.append(StoreUse(0, 0))
    looked(watch, PERIOD_S)
    with capture_logs() as lines:
        for spilled in (10, 20, 30):
            uses.append(StoreUse(0, spilled))
            looked(watch, PERIOD_S * (2 + spilled / 10), PERIOD_S * (1 + spilled / 10) + 1)
        assert len(lines) == 1
        later_s = 6 * PERIOD_S + CALM_S
        looked(watch, later_s, 5 * PERIOD_S + 1)
        uses.append(StoreUse(0, 40))
        looked(watch, later_s + 2 * PERIOD_S, later_s + 1)
    assert [line["log_level"] for line in lines] == ["warning"] * 2


def test_a_node_that_left_makes_the_count_no_less_than_nothing(watched: Watched) -> None:
    watch, uses = watched
    uses.append(StoreUse(0, 100))
    looked(watch, PERIOD_S)
    uses.append(StoreUse(0, 20))
    assert looked(watch, 3 * PERIOD_S, PERIOD_S + 1) == 0


def test_a_cluster_that_does_not_answer_leaves_it_unknown_and_is_told_of_once(watched: Watched) -> None:
    watch, uses = watched
    uses.append(RuntimeError("no answer"))
    with capture_logs() as lines:
        assert looked(watch, 5 * PERIOD_S) is None
    assert len(lines) == 1
