"""From the config to what runs: each lane's products with their views, schemas' identities and fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from operators.decode.audio import RANGE_S as AUDIO_RANGE_S
from operators.decode.image import JPEG_HEADROOM
from operators.decode.video import RANGE_S as FILM_RANGE_S
from operators.errors import ConfigError
from operators.records import Modality
from operators.tokenize import registry
from operators.tokenize.base import Tokenizer
from pipeline.config import Config, FetchConfig, LaneConfig, modality_of
from pipeline.records import Product

FORMAT = 1
"""Raised when decoding, windows or rows change their values in a way that no operator's own identity shows."""

Build = Callable[[str, Mapping[str, Any]], Tokenizer]


@dataclass(frozen=True, slots=True)
class ProductPlan:
    """A product and how to build its tokenizer.

    Attributes:
        tokenizer: its name in the registry.
        options: its options.
        identity: JSON of all that its values depend on; the product's fingerprint is this one's sha256.
        pads: whether the tokenizer pads a batch to its longest window (its attribute `pads`).
    """

    product: Product
    tokenizer: str
    options: Mapping[str, Any]
    identity: Mapping[str, Any]
    pads: bool = False


@dataclass(frozen=True, slots=True)
class LanePlan:
    """A lane, ready to run.

    Attributes:
        name: of the lane.
        modality: what it takes.
        products: what it makes, in the order of the config.
        config: its part of the config.
    """

    name: str
    modality: Modality
    products: tuple[ProductPlan, ...]
    config: LaneConfig

    @property
    def views(self) -> Mapping[str, str]:
        """By product key, the view that its tokenizer reads."""
        return {plan.product.key: plan.product.spec.view for plan in self.products}

    @property
    def keys(self) -> tuple[str, ...]:
        """The products' keys."""
        return tuple(plan.product.key for plan in self.products)


def fingerprint(identity: Mapping[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON of an identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def plan_lanes(config: Config, build: Build) -> tuple[LanePlan, ...]:
    """Build every tokenizer once, to learn what it is.

    Raises:
        ConfigError: a tokenizer can't be built, or is of another modality than its lane; names the field's path.
    """
    return tuple(_plan_lane(name, lane, config, build) for name, lane in config.lanes.items())


def _plan_lane(name: str, lane: LaneConfig, config: Config, build: Build) -> LanePlan:
    modality = modality_of(name, lane)
    products: list[ProductPlan] = []
    for product_name, product in lane.products.items():
        path = f"lanes.{name}.products.{product_name}"
        try:
            pool = lane.tokenize or lane.workers
            tokenizer = registry.in_precision(build(product.tokenizer, product.options), pool.precision)
        except ConfigError as error:
            raise ConfigError(f"{path}.tokenizer: {error}") from error
        spec = tokenizer.spec
        if spec.modality is not modality:
            raise ConfigError(f"{path}.tokenizer: {product.tokenizer} takes {spec.modality}, the lane gives {modality}")
        identity = {
            "format": FORMAT,
            "modality": modality,
            "view": spec.view,
            "on_damage": lane.on_damage,
            "max_pixels": config.fetch.max_pixels,
            "tokenizer": dict(registry.identity_of(tokenizer)),
            **_decoding(modality, config.fetch),
        }
        products.append(
            ProductPlan(
                product=Product(product_name, product.revision, fingerprint(identity), modality, spec),
                tokenizer=product.tokenizer,
                options=product.options,
                identity=identity,
                pads=registry.pads(tokenizer),
            )
        )
    return LanePlan(name, modality, tuple(products), lane)


def _decoding(modality: Modality, fetch: FetchConfig) -> dict[str, Any]:
    """What else the values depend on."""
    if modality is Modality.IMAGE:
        return {"jpeg_headroom": JPEG_HEADROOM}
    if modality not in {Modality.AUDIO, Modality.VIDEO}:
        return {}
    limits = {"duration_s": fetch.max_duration_s, "streams": fetch.max_streams, "channels": fetch.max_channels}
    # Where it is cut into ranges decides where its decoders begin anew.
    return {"limits": limits, "range_s": FILM_RANGE_S if modality is Modality.VIDEO else AUDIO_RANGE_S}
