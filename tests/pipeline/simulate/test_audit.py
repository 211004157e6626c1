"""The check itself: a lake in which something is wrong must not pass."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from operators.records import Origin
from pipeline.records import SourcePartition
from pipeline.simulate.audit import Audit, audit_lake
from pipeline.simulate.schedule import Schedule
from pipeline.simulate.world import World

FITS: dict[str, Callable[[World], bool]] = {
    "letters": lambda world: bool(lettered(world)),
    # Where a log was cut, or a takedown met a re-tokenization, nobody can count them.
    "voids": lambda world: (
        any(version.get("voids") for version in versions(world))
        and not any(version.get("predicates") or version.get("remade") for version in versions(world))
        and not any(log.cut or log.compacted for log in world.broker.logs.values())
    ),
    "live lists": lambda world: bool(world.store.live),
    "remade": lambda world: world.retokenized and any(version.get("remade") for version in versions(world)),
    # A takedown or a successor would change what a closing is about.
    "closings": lambda world: (
        any(v.get("closings") and v.get("shards") for v in versions(world))
        and not replaced(world)
        and len(world.lineup.names) == len(set(world.lineup.names.values()))
    ),
    "skips": lambda world: any(version.get("skips") for version in versions(world)),
}


@functools.cache
def seed_of(what: str) -> int:
    """The first seed whose world becomes quiet, has enough to look at, and this too."""
    for seed in range(500):
        world = World(seed, None)
        if Schedule(world).run() and audit(world).messages > 10 and live_shards(world) and FITS[what](world):
            return seed
    raise AssertionError("no such world")


def run(what: str) -> World:
    world = World(seed_of(what), None)
    assert Schedule(world).run()
    assert not wrong(world)
    return world


@pytest.fixture
def world() -> World:
    return run("letters")


def audit(world: World) -> Audit:
    return audit_lake(world)


def wrong(world: World) -> set[str]:
    found = audit(world)
    return {name for name in ("lost", "repeated", "wrong") if getattr(found, name)}


def versions(world: World) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in sorted(world.store.log.items())]


def replaced(world: World) -> set[str]:
    return {path for version in versions(world) for each in version.get("rewrites", ()) for path in each["removes"]}


def live_shards(world: World) -> list[str]:
    paths = [shard["path"] for version in versions(world) for shard in version.get("shards", ())]
    return [path for path in paths if path not in replaced(world) and len(world.store.shards[path]) > 1]


def named(world: World, path: str) -> bool:
    """Whether the log names this outcomes file: others are orphans of crashes."""
    files = [file["path"] for version in versions(world) for file in version.get("outcomes", ())]
    closed = any(version.get("closings") for version in versions(world))
    return path in files and path not in replaced(world) and not closed


def lettered(world: World) -> list[str]:
    """Outcomes files whose first letter is of a message that stands in its log: of others nobody knows their items."""

    def stands(origin: Origin) -> bool:
        log = world.broker.logs[SourcePartition(origin.source_id, origin.partition)]
        return not log.deleted and origin.offset not in log.cut | log.compacted

    return [
        path
        for path, (letters, _) in world.store.outcomes.items()
        if letters and named(world, path) and stands(letters[0].origin)
    ]


def change(world: World, name: str, to: Callable[[dict[str, Any]], None]) -> None:
    """Change the first version that has something under this name."""
    for path, body in sorted(world.store.log.items()):
        version = json.loads(body)
        if version.get(name):
            to(version)
            world.store.log[path] = json.dumps(version).encode()
            return
    raise AssertionError(f"no version has {name}")


def test_a_shard_that_is_not_there_is_lost(world: World) -> None:
    del world.store.shards[live_shards(world)[0]]
    assert "lost" in wrong(world)


def test_a_row_that_is_not_there_is_lost(world: World) -> None:
    path = live_shards(world)[0]
    world.store.shards[path] = world.store.shards[path][1:]
    assert "lost" in wrong(world)


def test_a_row_twice_is_repeated(world: World) -> None:
    path = live_shards(world)[0]
    world.store.shards[path] += world.store.shards[path][:1]
    assert wrong(world) == {"repeated"}


def test_a_version_twice_is_repeated(world: World) -> None:
    body = next(body for _, body in sorted(world.store.log.items()) if json.loads(body).get("shards"))
    world.store.log["_meta/log/999999/999999999.json"] = body
    assert "repeated" in wrong(world)


def test_a_version_that_is_gone_is_lost(world: World) -> None:
    path = next(path for path, body in sorted(world.store.log.items()) if json.loads(body).get("shards"))
    del world.store.log[path]
    assert "lost" in wrong(world)


def test_another_rows_tokens_are_wrong(world: World) -> None:
    path = live_shards(world)[0]
    row, *rest = world.store.shards[path]
    token = replace(row.token, window=replace(row.token.window, start=row.token.window.start + 1))
    world.store.shards[path] = (replace(row, token=token), *rest)
    assert "wrong" in wrong(world)


def test_rows_of_another_object_are_wrong(world: World) -> None:
    path = live_shards(world)[0]
    row, *rest = world.store.shards[path]
    token = replace(row.token, window=replace(row.token.window, uri="s3://elsewhere/1"))
    world.store.shards[path] = (replace(row, token=token), *rest)
    assert "wrong" in wrong(world)


def test_a_letter_that_is_gone_is_lost(world: World) -> None:
    path = lettered(world)[0]
    letters, empties = world.store.outcomes[path]
    world.store.outcomes[path] = (letters[1:], empties)
    assert "lost" in wrong(world)


def test_a_letter_twice_is_repeated(world: World) -> None:
    path = lettered(world)[0]
    letters, empties = world.store.outcomes[path]
    world.store.outcomes[path] = ((*letters, letters[0]), empties)
    assert "repeated" in wrong(world)


def test_void_items_that_were_not_counted_are_wrong() -> None:
    world = run("voids")
    for path, body in world.store.log.items():
        version = json.loads(body)
        version["voids"] = []
        world.store.log[path] = json.dumps(version).encode()
    assert wrong(world) == {"wrong"}


def test_a_live_list_that_is_not_its_versions_is_wrong() -> None:
    world = run("live lists")
    product, (version, files) = next(iter(world.store.live.items()))
    world.store.live[product] = (version, (*files, live_shards(world)[0], "data/none.arrow"))
    assert "wrong" in wrong(world)


def test_a_message_made_anew_twice_is_repeated() -> None:
    world = run("remade")
    change(world, "remade", lambda version: version["remade"].append(version["remade"][0]))
    assert "repeated" in wrong(world)


def test_a_message_said_to_be_made_anew_and_not_there_is_lost() -> None:
    world = run("remade")

    def forget(version: dict[str, Any]) -> None:
        version["shards"] = []

    change(world, "remade", forget)
    assert "lost" in wrong(world)


def test_a_letter_whose_closing_is_forgotten_is_repeated() -> None:
    world = run("closings")

    def forget(version: dict[str, Any]) -> None:
        version["closings"] = []

    change(world, "closings", forget)
    assert wrong(world) & {"repeated", "lost"}


def test_what_is_taken_down_and_there_is_wrong(world: World) -> None:
    row = world.store.shards[live_shards(world)[0]][0]

    def take_down(version: dict[str, Any]) -> None:
        version["predicates"] = [{"field": "uri", "value": row.token.window.uri}]

    change(world, "shards", take_down)
    assert "wrong" in wrong(world)


def test_a_message_skipped_that_is_there_is_wrong() -> None:
    world = run("skips")
    for log in world.broker.logs.values():
        log.start = 0
    assert "wrong" in wrong(world)


def test_a_product_opened_once_too_often_is_wrong(world: World) -> None:
    change(world, "openings", lambda version: version["openings"].append(version["openings"][0]))
    assert wrong(world) == {"wrong"}
