"""`mediatok backfill`: freeze a listing into the lake, then tokenize it like any other source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from operators.errors import ConfigError
from pipeline.app.build import claims_of, plan
from pipeline.app.defaults import DEFAULT_LANES
from pipeline.app.run import execute
from pipeline.app.storage import options_for, storage_options
from pipeline.config import Config, load_config, parse_config
from pipeline.graph import LanePlan
from pipeline.lake.history import load_state
from pipeline.lake.open_store import open_store
from pipeline.lake.state import LakeState
from pipeline.observe import units
from pipeline.observe.logs import setup_logs
from pipeline.records import SourcePartition
from pipeline.source.base import Positions, Source
from pipeline.source.inventory import canonical
from pipeline.source.listing import Frozen, freeze
from pipeline.source.listing_source import ListingSource


def run_backfill(uris: Sequence[str], lake: str, config_path: Path | None) -> int:
    """Freeze what the URIs hold, resume an unfinished listing or add what is new; tokenize. Returns the exit code."""
    setup_logs()
    config = backfill_config(uris, lake, config_path)
    storage = storage_options(config)
    store = open_store(config.lake, options_for(config.lake, storage))
    listings = freeze(list(uris), store, storage)
    if not listings:
        Console().print(f"nothing to tokenize under {', '.join(uris)}", markup=False)
        return 0
    rows = sum(listing.rows for listing in listings)
    if _complete(config, load_state(store), listings):
        Console().print(f"nothing new: all {units.count(rows)} that were listed are in {config.lake}", markup=False)
        return 0

    def make_source(lane: LanePlan, positions: Positions) -> Source:
        del lane
        return ListingSource(listings, store, positions)

    claims = claims_of(config, lambda _: [listing.source_id for listing in listings])
    return execute(config, f"backfill {' '.join(uris)}", make_source, claims, until_idle=True)


def _complete(config: Config, state: LakeState, listings: Sequence[Frozen]) -> bool:
    """Whether the lake has every row of these listings in every product, so that nothing need be started to know."""
    names = [name for lane in config.lanes.values() for name in lane.products]
    running = [state.open_product(name) for name in names]
    logs = [(SourcePartition(listing.source_id, 0), listing.rows) for listing in listings]
    for product in running:
        positions = [state.position(product.product.key, log) if product else None for log, _ in logs]
        if any(position is None or position < rows for position, (_, rows) in zip(positions, logs, strict=True)):
            return False
    # Of the same names: whether they are the same products takes the tokenizers to tell.
    keys = {item.product.key for lane in plan(config) for item in lane.products}
    return keys == {product.product.key for product in running if product}


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
