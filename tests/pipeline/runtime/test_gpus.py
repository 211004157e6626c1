"""Who is given which GPU, on a Ray with two pretended ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from operators.errors import ConfigError
from pipeline.app.build import plan, worker_spec
from pipeline.config import Config, parse_config
from pipeline.runtime import cluster
from pipeline.runtime.placement import PoolPlan, place, pools_of
from pipeline.runtime.pool import Pool, Worker
from tests.pipeline.runtime.running import lanes

pytestmark = pytest.mark.ray


def config(tmp_path: Path, **given: Mapping[str, Any]) -> Config:
    return parse_config({"lake": str(tmp_path / "lake"), "state": str(tmp_path / "state"), "lanes": lanes(**given)})


def placed(config: Config) -> Iterator[tuple[PoolPlan, Pool]]:
    planned = {lane.name: lane for lane in plan(config)}
    for each in place([pool for lane in planned.values() for pool in pools_of(lane)], cluster.nodes()).pools:
        yield each, Pool(each.name, worker_spec(planned[each.lane], each, config, {}), each.cpus)


@pytest.fixture
def workers(tmp_path: Path, ray_session: None) -> Iterator[dict[str, list[Worker]]]:
    """Two lanes' least workers: images on half a GPU each, texts on a whole one."""
    half = {"workers": {"min": 1, "cpus": 0.2}, "tokenize": {"min": 2, "gpus": 0.5, "cpus": 0.2}}
    whole = {"workers": {"min": 1, "cpus": 0.2}, "tokenize": {"min": 1, "gpus": 1, "cpus": 0.2}}
    pools = list(placed(config(tmp_path, image=half, text=whole)))
    for each, pool in pools:
        for worker in [pool.start() for _ in range(each.least)]:
            pool.warmed(worker)
    yield {pool.name: list(pool.workers.values()) for _, pool in pools}
    for _, pool in pools:
        pool.stop()


def test_each_tokenizer_is_given_its_share_and_cpu_workers_none(workers: dict[str, list[Worker]]) -> None:
    gpus = {name: [worker.gpus for worker in pool] for name, pool in workers.items()}
    visible = {name: [worker.info.visible for worker in pool if worker.info] for name, pool in workers.items()}
    (whole,), halves = gpus["text/tokenize"], gpus["image/tokenize"]
    assert halves[0] == halves[1]
    assert {*halves[0], *whole} == {"0", "1"}
    assert visible["image/tokenize"] == [halves[0][0], halves[0][0]]
    assert visible["text/tokenize"] == [whole[0]]
    for name in ("image/workers", "text/workers"):
        assert gpus[name] == [()]
        assert visible[name] == [""]


def test_three_of_six_tenths_on_two_gpus_are_refused_with_the_sum(tmp_path: Path, ray_session: None) -> None:
    big = {"tokenize": {"min": 3, "gpus": 0.6, "cpus": 0.1}, "workers": {"cpus": 0.1}}
    with pytest.raises(
        ConfigError, match=r"lanes\.image\.tokenize.*2 of 3 .*0\.6 GPU, 0\.8 are free but no more than 0\.4"
    ):
        list(placed(config(tmp_path, image=big)))
