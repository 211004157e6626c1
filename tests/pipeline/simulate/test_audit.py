"""The check itself: a lake in which something is wrong must not pass."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipeline.simulate.audit import Audit, audit_lake
from pipeline.simulate.schedule import Schedule
from pipeline.simulate.world import World

SEED = 3


@pytest.fixture
def world() -> World:
    world = World(SEED, None)
    assert Schedule(world).run()
    assert audit(world).messages > 10
    assert not wrong(world)
    return world


def audit(world: World) -> Audit:
    return audit_lake(world.store, world.broker.logs, world.media, world.promised)


def wrong(world: World) -> set[str]:
    found = audit(world)
    return {name for name in ("lost", "repeated", "wrong") if getattr(found, name)}


def live_shard(world: World) -> str:
    paths = [shard["path"] for body in world.store.log.values() for shard in json.loads(body).get("shards", ())]
    return next(path for path in paths if len(world.store.shards[path]) > 1)


def test_a_shard_that_is_not_there_is_lost(world: World) -> None:
    del world.store.shards[live_shard(world)]
    assert "lost" in wrong(world)


def test_a_row_that_is_not_there_is_lost(world: World) -> None:
    path = live_shard(world)
    world.store.shards[path] = world.store.shards[path][1:]
    assert "lost" in wrong(world)


def test_a_row_twice_is_repeated(world: World) -> None:
    path = live_shard(world)
    world.store.shards[path] += world.store.shards[path][:1]
    assert wrong(world) == {"repeated"}


def test_a_version_twice_is_repeated(world: World) -> None:
    bodies = sorted(world.store.log.items())
    body = next(body for _, body in bodies if json.loads(body).get("shards"))
    world.store.log["_meta/log/999999/999999999.json"] = body
    assert "repeated" in wrong(world)


def test_a_version_that_is_gone_is_lost(world: World) -> None:
    path = next(path for path, body in sorted(world.store.log.items()) if json.loads(body).get("shards"))
    del world.store.log[path]
    assert "lost" in wrong(world)


def test_another_rows_tokens_are_wrong(world: World) -> None:
    path = live_shard(world)
    row, *rest = world.store.shards[path]
    token = replace(row.token, window=replace(row.token.window, start=row.token.window.start + 1))
    world.store.shards[path] = (replace(row, token=token), *rest)
    assert "wrong" in wrong(world)


def test_a_letter_that_is_gone_is_lost(world: World) -> None:
    path = next(path for path, (letters, _) in world.store.outcomes.items() if letters and named(world, path))
    letters, empties = world.store.outcomes[path]
    world.store.outcomes[path] = (letters[1:], empties)
    assert "lost" in wrong(world)


def test_a_letter_beside_rows_is_repeated(world: World) -> None:
    path = next(path for path, (letters, _) in world.store.outcomes.items() if letters and named(world, path))
    letters, empties = world.store.outcomes[path]
    row = world.store.shards[live_shard(world)][0]
    world.store.outcomes[path] = ((*letters, replace(letters[0], origin=row.origin)), empties)
    assert audit(world).repeated or letters[0].product != row.product


def named(world: World, path: str) -> bool:
    """Whether the log names this file: others are orphans of crashes."""
    versions = map(json.loads, world.store.log.values())
    return any(path == file["path"] for version in versions for file in version.get("outcomes", ()))


def test_void_items_that_were_not_counted_are_wrong(world: World) -> None:
    for path, body in world.store.log.items():
        version = json.loads(body)
        version["voids"] = [void for void in version.get("voids", ()) if void["reason"] == "hole"]
        world.store.log[path] = json.dumps(version).encode()
    assert wrong(world) == {"wrong"}
