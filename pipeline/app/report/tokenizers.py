"""The tokenizers of a lake's products, where they can be had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from operators.errors import ConfigError
from pipeline.app.rebuild import Named, rebuilt, stored_identity
from pipeline.app.report.rows import ProductRows
from pipeline.config import Config


def with_tokenizer(rows: ProductRows, config: Config | None) -> ProductRows:
    """The rows with their tokenizer, or with the reason why there is none."""
    try:
        named = _named(rows.product.name, config)
        return replace(rows, tokenizer=rebuilt(stored_identity(rows.facts), named))
    except ConfigError as error:
        return replace(rows, why_not=f"No way back from these tokens: {error}. Pass the config that made them.")


def _named(product: str, config: Config | None) -> Iterator[Named]:
    """What a config has under a product's name."""
    for lane in config.lanes.values() if config else ():
        if product in lane.products:
            yield lane.products[product].tokenizer, lane.products[product].options
