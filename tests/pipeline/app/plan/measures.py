"""Lanes and measurements that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.records import Modality
from operators.tokenize.base import Tokenizer, TokenKind, TokenSpec
from pipeline.app.plan.measured import Cost, Measured, Memory
from pipeline.config import Config, parse_config
from pipeline.graph import LanePlan, plan_lanes

MIB = 1 << 20


class Pretended:
    """Knows what it is, and nothing else."""

    def __init__(self, name: str) -> None:
        modality = Modality(name)
        view = "utf8:64" if modality is Modality.TEXT else "rgb8:8x8:cover"
        self.spec = TokenSpec(TokenKind.CODES, modality, view, ("t",), (4,), "uint16")
        self.identity: Mapping[str, Any] = {"name": name}


def build(name: str, options: Mapping[str, Any]) -> Tokenizer:
    del options
    return Pretended(name)  # type: ignore[return-value]


def lanes_of(**lanes: Mapping[str, Any]) -> tuple[Config, tuple[LanePlan, ...]]:
    """A config of lanes named after their modality, each with one product."""
    raw = {name: {"products": {f"{name}-a": {"tokenizer": name}}, **lane} for name, lane in lanes.items()}
    config = parse_config({"lake": "x", "lanes": raw})
    return config, plan_lanes(config, build)


def measured(
    lane: LanePlan, prepare_s: float, tokenize_s: float, window_bytes: float = 0.0, **changes: Any
) -> Measured:
    """As exact as can be."""
    (key,) = lane.keys
    fields: dict[str, Any] = {
        "prepare": Cost(prepare_s, 0.01, 10, 320),
        "tokenize": {key: Cost(tokenize_s, 0.01, 10, 320)},
        "windows": 1.0,
        "window_bytes": window_bytes,
        "tokens": {key: 256.0},
        "media_s": 0.0,
        "put_s": 0.0,
        "get_s": 0.0,
        "memory": Memory(50 * MIB, 100 * MIB, 400 * MIB),
        "device": "cpu",
        "stolen": 0.0,
        "refused": {},
    }
    return Measured(**fields | changes)
