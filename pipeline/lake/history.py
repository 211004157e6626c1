"""Reading the log: the newest checkpoint, then every version after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from operators.errors import InvariantError
from pipeline.lake.checkpoint import checkpoint_bytes, read_checkpoint
from pipeline.lake.codec import canonical_json, parse_delta
from pipeline.lake.delta import Delta
from pipeline.lake.follow import ReadAhead
from pipeline.lake.paths import CHECKPOINTS, LAST, checkpoint_path, checkpoint_version, version_path
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore, NoSuchFileError

_READERS = 8


def load_state(store: LakeStore, at: int | None = None) -> LakeState:
    """The lake's state at a version that there is; without one, at the newest.

    Raises:
        InvariantError: the log or its checkpoint can't be what commits made.
    """
    state = _newest_checkpoint(store, at)
    if at is None:
        catch_up(store, state)
    else:
        _fold_up_to(store, state, at)
    return state


def catch_up(store: LakeStore, state: LakeState) -> None:
    """Fold in whatever has been committed since: all up to the hint in parallel, then as `follow`.

    Raises:
        InvariantError: as `LakeState.apply`.
    """
    _fold_up_to(store, state, last_hint(store))
    follow(store, state, ReadAhead())


def _fold_up_to(store: LakeStore, state: LakeState, last: int) -> None:
    """Fold in all versions up to one that there is for sure."""
    if last <= state.version:
        return
    with ThreadPoolExecutor(_READERS) as pool:
        for delta in pool.map(lambda version: read_version(store, version), range(state.version + 1, last + 1)):
            if delta is None:
                raise InvariantError(f"{store.uri}: the log has a version {last}, but one before it is missing")
            state.apply(delta)


def follow(store: LakeStore, state: LakeState, ahead: ReadAhead) -> None:
    """Fold in whatever has been committed since, as many versions at once as there likely are.

    Raises:
        InvariantError: as `LakeState.apply`.
    """
    ahead.forget()
    while (body := read_next(store, state.version + 1, ahead)) is not None:
        state.apply(_checked(body, state.version + 1))


def read_next(store: LakeStore, version: int, ahead: ReadAhead) -> bytes | None:
    """The bytes of a version of the log, and perhaps of some after it; None where there is none yet."""
    wanted = ahead.wanted(version)
    if len(wanted) == 1:
        ahead.give({version: read_if_there(store, version_path(version))})
    elif wanted:
        with ThreadPoolExecutor(len(wanted)) as pool:
            found = pool.map(lambda each: read_if_there(store, version_path(each)), wanted)
            ahead.give(dict(zip(wanted, found, strict=True)))
    return ahead.take(version)


def read_version(store: LakeStore, version: int) -> Delta | None:
    """A version of the log; None where there is none yet.

    Raises:
        InvariantError: it is no delta, or says that it is another version.
    """
    body = read_if_there(store, version_path(version))
    return None if body is None else _checked(body, version)


def _checked(body: bytes, version: int) -> Delta:
    delta = parse_delta(body)
    if delta.version != version:
        raise InvariantError(f"{version_path(version)} says that it is version {delta.version}")
    return delta


def read_log(store: LakeStore, first: int = 1) -> Iterator[Delta]:
    """The versions from `first` on, in order; some are read before they are asked for.

    Raises:
        InvariantError: one is no delta, or says that it is another version.
    """
    version, ahead = first, ReadAhead()
    while (body := read_next(store, version, ahead)) is not None:
        yield _checked(body, version)
        version += 1


def read_if_there(store: LakeStore, path: str) -> bytes | None:
    """A file, or None where there is none."""
    try:
        return store.read(path)
    except NoSuchFileError:
        return None


def last_hint(store: LakeStore) -> int:
    """A version that the log has had for sure; 0 where nobody has left a hint."""
    body = read_if_there(store, LAST)
    if body is None:
        return 0
    try:
        return int(cast("dict[str, Any]", json.loads(body))["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvariantError(f"{store.uri}/{LAST} is no hint: {error!r}") from error


def write_hint(store: LakeStore, version: int) -> None:
    """Leave a hint. A slow writer may put an older one over a newer; both are true."""
    store.write(LAST, canonical_json({"version": version}))


def checkpoints(store: LakeStore) -> list[int]:
    """The versions of which there is a checkpoint, ascending."""
    found = (checkpoint_version(path) for path in store.list(CHECKPOINTS))
    return sorted(version for version in found if version is not None)


def write_checkpoint(store: LakeStore, state: LakeState, keep: int) -> None:
    """Write the checkpoint of this version, unless it is there; all but the newest `keep` go."""
    store.create(checkpoint_path(state.version), checkpoint_bytes(state))
    for version in checkpoints(store)[:-keep]:
        store.delete(checkpoint_path(version))


def _newest_checkpoint(store: LakeStore, at: int | None) -> LakeState:
    # One that is listed may be gone before it is read, since writers keep only the newest few.
    for version in reversed(checkpoints(store)):
        if at is not None and version > at:
            continue
        body = read_if_there(store, checkpoint_path(version))
        if body is not None:
            state = read_checkpoint(body)
            if state.version != version:
                raise InvariantError(f"{checkpoint_path(version)} says that it is of version {state.version}")
            return state
    return LakeState()
