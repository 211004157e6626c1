"""What the jobs share: a part of a config's lanes, a state folder of their own, who takes what."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from operators.errors import ConfigError
from operators.records import Modality
from pipeline.app.storage import options_for, storage_options
from pipeline.config import Config, modality_of
from pipeline.lake.lake import Lake
from pipeline.runtime.intake import Claims


def open_lake_of(config: Config) -> Lake:
    """A config's lake, to look into.

    Raises:
        ConfigError: there is none.
    """
    return Lake.open(config.lake, options_for(config.lake, storage_options(config)), read_only=True)


def chosen_products(config: Config, product: str | None, lake: Lake) -> tuple[str, ...]:
    """The names of all of a config's products, or the one that is called so or has this key.

    Raises:
        ConfigError: the config has no such product.
    """
    names = tuple(name for lane in config.lanes.values() for name in lane.products)
    if product is None:
        return names
    known = lake.state.products.get(product)
    name = product if known is None else known.product.name
    if name not in names:
        raise ConfigError(f"product {product!r}: the config has none of this name; it has {', '.join(names)}")
    return (name,)


def config_for(config: Config, names: Collection[str], job: str) -> Config:
    """The lanes that make these products, these alone; spool and status in a folder of the job's own."""
    lanes = {
        lane: each.model_copy(update={"products": products})
        for lane, each in config.lanes.items()
        if (products := {name: product for name, product in each.products.items() if name in names})
    }
    return config.model_copy(update={"lanes": lanes, "state": config.state / job})


def claims_for(config: Config, topics: Mapping[str, Collection[str]]) -> Claims:
    """Who takes what, as in the whole config. A topic that no lane reads (a listing, one of former days) is taken by
    all; a product's own lane takes what it once took, whatever it reads now.

    Args:
        config: with all lanes.
        topics: and the names of the products that have work from there.
    """
    modalities = {name: modality_of(name, lane) for name, lane in config.lanes.items()}
    found = dict[str, tuple[Modality, ...]]()
    for topic, names in topics.items():
        reading = [name for name, lane in config.lanes.items() if topic in lane.topics] or list(config.lanes)
        owning = [name for name, lane in config.lanes.items() if not lane.products.keys().isdisjoint(names)]
        found[topic] = tuple(modalities[name] for name in dict.fromkeys((*reading, *owning)))
    return Claims(found)
