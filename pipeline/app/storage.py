"""Store options from a config. Apart from the wiring, so that `lake ls` needs neither Ray nor torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import Config, load_config, resolve_secrets
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_to_commit
from pipeline.observe.logs import hide


def storage_options(config: Config) -> dict[str, dict[str, Any]]:
    """Fsspec's options by scheme, secrets resolved, and from now on hidden in every log line."""
    resolved: dict[str, dict[str, Any]] = resolve_secrets(config.storage, "storage")
    hide(*_secrets(config.storage, resolved))
    return resolved


def options_for(uri: str, storage: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The options of a uri's scheme."""
    scheme = uri.partition("://")[0] if "://" in uri else "file"
    return storage.get(scheme, {})


def open_lake(uri: str, config_path: Path | None) -> Lake:
    """A lake to look into, with the store options of a config if one is given.

    Raises:
        ConfigError: no lake is there, or the config is wrong.
    """
    return Lake.open(uri, lake_options(uri, config_path), read_only=True)


def open_lake_to_commit(uri: str, config_path: Path | None) -> Lake:
    """A lake that a command changes, with the store options and the writers' lock of a config if one is given.

    Raises:
        StoreUnsafeError: its store ignores conditional puts, and no lock is given.
        ConfigError: no lake is there, another writer holds the lock, or the config is wrong.
    """
    open_lake(uri, config_path)  # refuses where there is none, before anything is written there
    lock = load_config(config_path).commit.single_writer_lock if config_path else None
    return Lake(open_to_commit(uri, lake_options(uri, config_path), lock))


def lake_options(uri: str, config_path: Path | None) -> Mapping[str, Any]:
    """The store options of a lake, from a config if one is given."""
    return options_for(uri, storage_options(load_config(config_path))) if config_path else {}


def _secrets(raw: object, resolved: object) -> Iterator[str]:
    """The texts that stand where the config names a file or a variable."""
    match raw, resolved:
        case {**pairs}, {**values} if pairs.keys() == values.keys():
            for key in pairs:
                yield from _secrets(pairs[key], values[key])
        case [*items], [*values]:
            for item, value in zip(items, values, strict=True):
                yield from _secrets(item, value)
        case {**pairs}, str(secret) if pairs:
            yield secret
        case _:
            pass
