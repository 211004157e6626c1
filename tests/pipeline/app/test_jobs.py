from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from operators.errors import ConfigError
from operators.records import Modality
from pipeline.app.jobs import chosen_products, claims_for, config_for
from pipeline.config import Config, parse_config
from pipeline.lake.lake import Lake
from pipeline.lake.reader import inherited_messages
from pipeline.lake.state import covered_messages

GOLDEN = Path(__file__).parents[2] / "golden" / "lake-v1"
IMAGE, TEXT, AUDIO = Modality.IMAGE, Modality.TEXT, Modality.AUDIO


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(shutil.copytree(GOLDEN, tmp_path / "lake")))


@pytest.fixture
def config() -> Config:
    def lane(products: list[str], topics: list[str]) -> dict[str, Any]:
        return {"topics": topics, "products": {name: {"tokenizer": "unused"} for name in products}}

    lanes = {
        "image": lane(["image-rq", "image-patches"], ["pictures", "mixed"]),
        "text": lane(["words"], ["mixed"]),
        "audio": lane(["sound"], []),
    }
    return parse_config({"lake": "unused", "state": "state", "lanes": lanes})


def test_a_job_has_the_lanes_and_products_that_have_work_and_a_folder_of_its_own(config: Config) -> None:
    part = config_for(config, {"image-rq", "words"}, "replay")
    assert {name: list(lane.products) for name, lane in part.lanes.items()} == {
        "image": ["image-rq"],
        "text": ["words"],
    }
    assert part.state == Path("state/replay")


def test_a_product_is_named_or_given_by_any_of_its_keys(config: Config, lake: Lake) -> None:
    assert chosen_products(config, None, lake) == ("image-rq", "image-patches", "words", "sound")
    assert chosen_products(config, "image-rq", lake) == ("image-rq",)
    assert chosen_products(config, "image-rq-1a2b3c4d", lake) == ("image-rq",)
    with pytest.raises(ConfigError, match="it has image-rq, image-patches"):
        chosen_products(config, "image", lake)


@pytest.mark.parametrize(
    ("topic", "names", "takers"),
    [
        ("mixed", {"words"}, (IMAGE, TEXT)),
        ("pictures", {"image-rq"}, (IMAGE,)),
        ("pictures", {"sound"}, (IMAGE, AUDIO)),
        ("listing-1", {"words"}, (IMAGE, TEXT, AUDIO)),
    ],
    ids=["as in the run", "one lane alone", "a lane that no longer reads it takes its own", "a listing is everybody's"],
)
def test_who_takes_what(config: Config, topic: str, names: set[str], takers: tuple[Modality, ...]) -> None:
    assert claims_for(config, {topic: names}).lanes == {topic: takers}


def test_how_far_a_product_is_shows_in_what_it_only_inherits(lake: Lake) -> None:
    first, second = "image-rq-1a2b3c4d", "image-rq-5e6f7a8b"
    assert covered_messages(lake.state, first) == inherited_messages(lake.state, second) == 8
    assert covered_messages(lake.state, second) == 4
