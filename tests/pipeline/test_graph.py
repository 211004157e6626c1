from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from operators.errors import ConfigError
from operators.records import Modality
from operators.tokenize import registry
from operators.tokenize.base import Tokenizer, TokenKind, TokenSpec
from pipeline.config import parse_config
from pipeline.graph import fingerprint, plan_lanes


class Pretended:
    """Knows what it is, and nothing else."""

    def __init__(self, modality: Modality, identity: Mapping[str, Any]) -> None:
        self.spec = TokenSpec(TokenKind.CODES, modality, "rgb8:8x8:cover", ("t",), (4,), "uint16")
        self.identity = identity


def build(name: str, options: Mapping[str, Any]) -> Tokenizer:
    if name == "nobody":
        raise ConfigError("no tokenizer 'nobody'")
    modality = Modality.TEXT if name == "text" else Modality.IMAGE
    return Pretended(modality, {"class": name, **options})  # type: ignore[return-value]


def config(tokenizer: str = "image", **changes: Any) -> Any:
    lane = {
        "products": {"a": {"tokenizer": tokenizer, "options": changes.pop("options", {})}},
        **changes.pop("lane", {}),
    }
    return parse_config({"lake": "x", "lanes": {"image": lane}, **changes})


def key(parsed: Any) -> str:
    return plan_lanes(parsed, build)[0].products[0].product.key


def test_a_precision_other_than_float32_changes_the_key_whichever_pool_tokenizes() -> None:
    exact = plan_lanes(config("image-rq"), registry.build)[0].products[0].product.key
    keys = {
        plan_lanes(config("image-rq", lane=lane), registry.build)[0].products[0].product.key
        for lane in ({"workers": {"precision": "bfloat16"}}, {"tokenize": {"precision": "bfloat16"}})
    }
    assert len(keys) == 1
    assert exact not in keys
    assert exact == "a-" + fingerprint(plan_lanes(config("image-rq"), registry.build)[0].products[0].identity)[:8]
    assert "precision" not in plan_lanes(config("image-rq"), registry.build)[0].products[0].identity["tokenizer"]


def test_a_tokenizer_without_an_encoder_refuses_a_precision_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"lanes\.image\.products\.a\.tokenizer: precision: Pretended"):
        plan_lanes(config(lane={"workers": {"precision": "bfloat16"}}), build)


def test_a_fingerprint_ignores_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})


@pytest.mark.parametrize(
    "changed",
    [
        {"options": {"layers": 2}},
        {"lane": {"on_damage": "keep"}},
        {"fetch": {"max_pixels": 7}},
    ],
)
def test_what_changes_values_changes_the_key(changed: dict[str, Any]) -> None:
    assert key(config(**changed)) != key(config())


@pytest.mark.parametrize(
    "changed",
    [
        {"lane": {"workers": {"max": 9}}},
        {"lane": {"limits": {"prepare_batch": 1}}},
        {"lane": {"topics": ["elsewhere"]}},
        {"ray": {"address": "auto"}},
        {"fetch": {"max_object_bytes": 7}},
    ],
)
def test_how_it_is_run_does_not(changed: dict[str, Any]) -> None:
    assert key(config(**changed)) == key(config())


def test_a_tokenizer_of_another_modality_is_refused_with_its_path() -> None:
    with pytest.raises(
        ConfigError, match=r"lanes\.image\.products\.a\.tokenizer: text takes text, the lane gives image"
    ):
        plan_lanes(config("text"), build)


def test_an_unknown_tokenizer_is_named_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"lanes\.image\.products\.a\.tokenizer: no tokenizer 'nobody'"):
        plan_lanes(config("nobody"), build)
