from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from operators.errors import ConfigError
from operators.records import Modality
from pipeline.config import modality_of, parse_config, resolve_secrets

GOOD = {
    "lake": "out/lake",
    "lanes": {"image": {"topics": ["media.image"], "products": {"rq": {"tokenizer": "image-rq"}}}},
}


def with_lane(**fields: object) -> dict[str, object]:
    return {**GOOD, "lanes": {"image": {**GOOD["lanes"]["image"], **fields}}}


def test_a_small_config_is_complete_by_its_defaults() -> None:
    config = parse_config(GOOD)
    assert config.lanes["image"].products["rq"].revision == 1
    assert modality_of("image", config.lanes["image"]) is Modality.IMAGE
    assert config.kafka is None


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({**GOOD, "lakee": "x"}, ["lakee: unknown key", "did you mean 'lake'?"]),
        (with_lane(topic=["x"]), ["lanes.image.topic: unknown key", "did you mean 'topics'?", "start"]),
        (with_lane(workers={"maximum": 3}), ["lanes.image.workers.maximum: unknown key", "valid here: cpus, gpus"]),
        (with_lane(workers={"min": 3, "max": 2}), ["lanes.image.workers", "min (3) is above max (2)"]),
        (with_lane(products={}), ["lanes.image.products"]),
        (with_lane(products={"rq": {}}), ["lanes.image.products.rq.tokenizer: Field required"]),
        (with_lane(products={"Bad Name": {"tokenizer": "x"}}), ["lanes.image.products"]),
        (with_lane(start="yesterday"), ["lanes.image.start", "'yesterday'"]),
        (with_lane(failures={"window": 3}), ["lanes.image.failures.window: unknown key", "did you mean 'window_s'?"]),
        (with_lane(failures={"most_share": 2}), ["lanes.image.failures.most_share: ", "less than or equal to 1"]),
        (with_lane(limits={"seal_age": 3}), ["lanes.image.limits.seal_age: unknown key", "did you mean 'seal_age_s'?"]),
        (
            {"lake": "x", "lanes": {"pictures": {"products": {"a": {"tokenizer": "b"}}}}},
            ["lanes.pictures", "image, audio"],
        ),
        ({"lanes": GOOD["lanes"]}, ["lake: Field required"]),
    ],
)
def test_a_wrong_field_is_named_by_its_path_with_what_would_be_valid(raw: dict[str, object], says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    for text in says:
        assert text in str(caught.value)


def test_two_lanes_may_not_make_the_same_product() -> None:
    lane = {"products": {"a": {"tokenizer": "b"}}}
    with pytest.raises(ConfigError, match=r"lanes\.more\.products\.a: lane image has it already"):
        parse_config({"lake": "x", "lanes": {"image": lane, "more": {**lane, "modality": "image"}}})


def test_secrets_come_from_the_environment_and_from_files(tmp_path, monkeypatch) -> None:
    (tmp_path / "password").write_text("hush\n")
    monkeypatch.setenv("LAKE_KEY", "key")
    raw = {"key": {"env": "LAKE_KEY"}, "nested": [{"secret": {"file": str(tmp_path / "password")}}], "plain": 1}
    assert resolve_secrets(raw) == {"key": "key", "nested": [{"secret": "hush"}], "plain": 1}


def test_a_missing_secret_is_named_by_path_and_variable() -> None:
    with pytest.raises(ConfigError, match=r"s3\.key: the environment variable NOT_SET_ANYWHERE is not set"):
        resolve_secrets({"s3": {"key": {"env": "NOT_SET_ANYWHERE"}}})
    with pytest.raises(ConfigError, match=r"secret: /nowhere can't be read"):
        resolve_secrets({"secret": {"file": "/nowhere"}})


def test_the_config_in_the_readme_is_valid() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    config = parse_config(yaml.safe_load(example))
    assert config.lanes["image"].tokenize is not None


def test_a_precision_where_nothing_is_tokenized_is_refused_with_the_field_that_counts() -> None:
    pools = {"workers": {"precision": "bfloat16"}, "tokenize": {"gpus": 0.5}}
    raw = {"lake": "x", "lanes": {"image": {"products": {"rq": {"tokenizer": "image-rq"}}, **pools}}}
    with pytest.raises(ConfigError, match=r"lanes.image: workers.precision: .*valid: tokenize.precision"):
        parse_config(raw)


def test_one_and_a_half_gpus_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lanes.image.workers: gpus is a fraction of one or a whole number"):
        parse_config(
            {"lake": "x", "lanes": {"image": {"products": {"a": {"tokenizer": "t"}}, "workers": {"gpus": 1.5}}}}
        )
