"""The lake as it was: at a version, or at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from operators.errors import ConfigError, InvariantError
from pipeline.lake.history import load_state, read_version
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore


@dataclass(frozen=True, slots=True)
class Moment:
    """Which state is meant; without any of both, the newest.

    Attributes:
        version: this one.
        at: the newest one that was committed by then. A time without a zone is UTC's.
    """

    version: int | None = None
    at: datetime | None = None


NOW = Moment()


def state_of(store: LakeStore, moment: Moment = NOW, newest: LakeState | None = None) -> LakeState:
    """The state at a moment; only its predicates are the newest ones, since what is taken down stays so in the past.

    Args:
        store: of the lake.
        moment: when.
        newest: the newest state, where it has been read already.

    Raises:
        ConfigError: there is no lake, it had or has no such version, or vacuum has deleted what it names.
    """
    newest = newest or load_state(store)
    if not newest.version:
        raise ConfigError(f"there is no lake at {store.uri}: its log has no version yet")
    version = resolve(store, newest, moment)
    if version == newest.version:
        return newest
    if version < newest.min_base:
        raise ConfigError(
            f"version {version} of {store.uri} can't be read any more: vacuum has deleted files that only versions "
            f"below {newest.min_base} name; ask for {newest.min_base} or a later one"
        )
    state = load_state(store, at=version)
    state.predicates = newest.predicates
    return state


def resolve(store: LakeStore, newest: LakeState, moment: Moment) -> int:
    """A moment as a version of the log, whether it can still be read or not.

    Raises:
        ConfigError: both a version and a time are given, or there is no such version.
    """
    if moment.version is not None and moment.at is not None:
        raise ConfigError("a version or a time, not both")
    if moment.version is not None:
        if not 1 <= moment.version <= newest.version:
            raise ConfigError(f"{store.uri} has no version {moment.version}: it has 1 to {newest.version}")
        return moment.version
    if moment.at is None:
        return newest.version
    version = version_at(store, newest.version, moment.at)
    if not version:
        raise ConfigError(f"{store.uri} had no version yet at {moment.at}: see `mediatok lake log`")
    return version


def version_at(store: LakeStore, newest: int, at: datetime) -> int:
    """The newest version that was committed by a time, in a few reads; 0 where the log began later.

    Times are those of the committers' clocks. As far as these differ, the answer is one of the versions of about then.

    Args:
        store: of the lake.
        newest: the log's newest version.
        at: UTC where it has no zone.
    """
    at_ms = _ms(at)
    low, high = 0, newest + 1  # low was committed by then; high was not, or is not there
    while high - low > 1:
        middle = (low + high) // 2
        if _committed_at_ms(store, middle) <= at_ms:
            low = middle
        else:
            high = middle
    return low


def _committed_at_ms(store: LakeStore, version: int) -> int:
    delta = read_version(store, version)
    if delta is None:
        raise InvariantError(f"{store.uri}: version {version} of the log is missing, though later ones are there")
    return delta.committed_at_ms


def _ms(at: datetime) -> int:
    # `astimezone` would take a time without a zone for this machine's.
    epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    aware = at if at.tzinfo is not None else at.replace(tzinfo=epoch.tzinfo)
    return round((aware - epoch).total_seconds() * 1000)
