from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from operators.errors import ConfigError
from operators.records import VoidReason
from pipeline.app.build import plan
from pipeline.app.catch_up import Below, catch_up
from pipeline.config import Config
from pipeline.lake.delta import Opening, Skip, Start
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal
from pipeline.records import SourcePartition, Span
from pipeline.runtime import cluster
from pipeline.source.base import LogEnds
from pipeline.source.embedded import EmbeddedBroker
from pipeline.source.kafka_config import consumer_properties
from pipeline.source.kafka_topics import TopicIds
from tests.pipeline.app.jobs_world import PRETEND, JobsWorld
from tests.pipeline.runtime.running import Sent, send

OLD = {"tokenizer": f"{PRETEND}:Letters"}
NEW = {"tokenizer": f"{PRETEND}:Other"}
LOG = SourcePartition("topic-id", 0)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


def joined(
    config: Config, log: SourcePartition, starts: Mapping[str, int], skipped: Sequence[tuple[int, int]]
) -> dict[str, str]:
    """A lake in which products, by name, begin there, with some offsets done. Returns their keys, by name."""
    (lane,) = plan(config)
    keys = {item.product.name: item.product.key for item in lane.products}
    lake = Lake.open(config.lake)
    lake.commit(Proposal(openings=tuple(Opening(item.product, lane.name) for item in lane.products)))
    begun = tuple(Start(keys[name], log, start) for name, start in starts.items())
    done = tuple(Skip(start.product, Span(log, tuple(skipped)), VoidReason.EXPIRED) for start in begun if skipped)
    lake.commit(Proposal(starts=begun, skips=done))
    return keys


@pytest.mark.ray
def test_a_product_that_joined_later_gets_what_lies_below_its_start(
    tmp_path: Path,
    broker: EmbeddedBroker,
    ray_session: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster, "stop", lambda: None)
    world = JobsWorld(tmp_path)
    config = world.configure({"old": OLD, "new": NEW}, topics=["texts"])
    values = [json.dumps({"uri": f"note:{n}", "text": f"text {n}"}).encode() for n in range(6)]
    broker.create(["texts"])
    send(broker, [Sent("texts", value) for value in [*values[:2], None, b"no json", *values[2:]]])

    settings = broker.config(["texts"], "live")
    ids = TopicIds(settings, consumer_properties(settings), lambda error: None).identify()
    log = SourcePartition(ids["texts"], 0)
    joined(config, log, {"old": 0, "new": 6}, [(7, 8)])
    assert catch_up(config, "run.yaml", "new", "earliest", lambda lane: settings) == 0

    assert world.texts("new") == ["text 0", "text 1", "text 2", "text 3"]
    assert [letter.origin.offset for letter in world.letters("new")] == [3]
    assert "6 offsets below its start were not done yet" in capsys.readouterr().out
    new = next(key for key, each in world.lake().state.products.items() if each.product.name == "new")
    assert world.lake().state.start(new, log) == 6, "live work goes on where it was"
    assert world.lake().state.position(new, log) == 6
    world.verified()
    version = world.lake().state.version
    assert catch_up(config, "run.yaml", "new", "earliest", lambda lane: settings) == 0
    assert world.lake().state.version == version


def at_no_time(time_ms: int, logs: Sequence[SourcePartition]) -> dict[SourcePartition, int]:
    return dict.fromkeys(logs, time_ms)


def test_what_is_owed_lies_below_the_start_is_not_done_and_is_still_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = JobsWorld(tmp_path).configure({"old": OLD, "new": NEW, "stranger": OLD | {"revision": 2}})
    keys = joined(config, LOG, {"old": 0, "new": 10}, [(5, 7)])
    below = Below(Lake.open(config.lake).store, None, tuple(keys.values()))
    assert below([LogEnds(LOG, "texts", 2, 30)], at_no_time) == {LOG: {keys["new"]: ((2, 5), (7, 10))}}
    below.show(Console(width=200))
    said = capsys.readouterr().out
    assert f"{keys['new']}: 6 offsets below its start were not done yet" in said
    assert "2 offsets up to 1 of texts/0 are gone" in said
    assert f"{keys['stranger']} does not read 'texts' yet" in said


def test_what_is_older_than_the_time_is_not_wanted(tmp_path: Path) -> None:
    config = JobsWorld(tmp_path).configure({"new": NEW})
    keys = joined(config, LOG, {"new": 10}, [])
    below = Below(Lake.open(config.lake).store, 8, tuple(keys.values()))
    assert below([LogEnds(LOG, "texts", 2, 30)], at_no_time) == {LOG: {keys["new"]: ((8, 10),)}}


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    config = JobsWorld(tmp_path).configure({"new": NEW})
    with pytest.raises(ConfigError, match="--from"):
        catch_up(config, "run.yaml", None, "yesterday", lambda lane: pytest.fail("asked"))
