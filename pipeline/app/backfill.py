"""`mediatok backfill`: freeze a listing into the lake, then tokenize it like any other source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog
from rich.console import Console

from operators.errors import ConfigError
from pipeline.app.build import claims_of
from pipeline.app.defaults import DEFAULT_LANES
from pipeline.app.run import execute
from pipeline.app.storage import options_for, storage_options
from pipeline.config import Config, load_config, parse_config
from pipeline.graph import LanePlan
from pipeline.lake.open_store import open_store
from pipeline.source.base import Positions, Source
from pipeline.source.inventory import canonical
from pipeline.source.listing import freeze
from pipeline.source.listing_source import ListingSource

_log = structlog.get_logger(__name__)


def run_backfill(uris: Sequence[str], lake: str, config_path: Path | None) -> int:
    """Freeze what the URIs hold, resume an unfinished listing or add what is new; tokenize. Returns the exit code."""
    config = backfill_config(uris, lake, config_path)
    storage = storage_options(config)
    store = open_store(config.lake, options_for(config.lake, storage))
    listings = freeze(list(uris), store, storage)
    if not listings:
        Console().print(f"nothing to tokenize under {', '.join(uris)}", markup=False)
        return 0
    _log.info(
        "listing frozen", listings=[listing.source_id for listing in listings], rows=sum(x.rows for x in listings)
    )

    def make_source(lane: LanePlan, positions: Positions) -> Source:
        del lane
        return ListingSource(listings, store, positions)

    claims = claims_of(config, lambda _: [listing.source_id for listing in listings])
    return execute(config, f"backfill {' '.join(uris)}", make_source, claims, until_idle=True)


def backfill_config(uris: Sequence[str], lake: str, config_path: Path | None) -> Config:
    """The config of a backfill: the given one's lanes and storage, this lake, and leave to read the URIs' folders."""
    base = load_config(config_path) if config_path else parse_config({"lake": lake, "lanes": DEFAULT_LANES})
    folders = [_folder(canonical(uri)) for uri in uris if "://" not in uri or uri.startswith("file://")]
    fetch = base.fetch.model_copy(update={"roots": [*base.fetch.roots, *folders]})
    return base.model_copy(update={"lake": lake, "fetch": fetch})


def _folder(uri: str) -> Path:
    """The folder that a local prefix, glob or manifest lies in."""
    path = Path(uri.removeprefix("file://"))
    parts: list[str] = []
    for part in path.parts:
        if any(sign in part for sign in "*?["):
            break
        parts.append(part)
    folder = Path(*parts)
    if not folder.exists():
        raise ConfigError(f"{uri}: there is no {folder}")
    return folder if folder.is_dir() else folder.parent
