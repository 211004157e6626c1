"""Other people's readers open a live list without our code, and never see what was not committed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import datasets
import duckdb
import polars
import pyarrow.dataset
import pytest
import yaml

from operators.errors import ConfigError
from pipeline.lake.lake import Lake
from pipeline.lake.reader import live_files, product_key, published_files, read_table

KEY = "image-rq-1a2b3c4d"


@pytest.fixture
def files(golden: ModuleType, tmp_path: Path) -> list[str]:
    """The live list as the card says to read it, in a lake where an uncommitted shard lies beside."""
    lake: Lake = golden.make_lake(tmp_path / "lake")
    golden.bring_shard(lake, golden.FIRST, golden.LOG, 90, 91)
    lake.publish_live()
    root = tmp_path / "lake"
    assert len(list((root / f"data/product={KEY}").rglob("*.arrow"))) == 4
    live = json.loads((root / f"_meta/live/{KEY}.json").read_text())
    return [str(root / path) for path in live["files"]]


def test_pyarrow_opens_it(files: list[str]) -> None:
    table = pyarrow.dataset.dataset(files, format="arrow").to_table()
    assert sorted(table.column("offset").to_pylist()) == [0, 10, 11, 12, 14]


def test_polars_opens_it(files: list[str]) -> None:
    frame = polars.scan_ipc(files).collect()
    assert sorted(frame["offset"].to_list()) == [0, 10, 11, 12, 14]
    assert frame.filter(polars.col("offset") == 14)["codes"].to_list() == [[14, 15, 16, 17]]


def test_duckdb_opens_it(files: list[str]) -> None:
    rows = pyarrow.dataset.dataset(files, format="arrow")
    connection = duckdb.connect()
    connection.register("rows", rows)
    assert connection.sql("SELECT count(*), sum(n_tokens), sum(codes[1]) FROM rows").fetchall() == [(5, 20, 47)]


def test_hugging_face_opens_it(files: list[str], tmp_path: Path) -> None:
    train = datasets.load_dataset("arrow", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert sorted(train["offset"]) == [0, 10, 11, 12, 14]
    assert train[0]["product"] == KEY


def test_the_cards_config_names_the_live_files_and_no_others(files: list[str], tmp_path: Path) -> None:
    head = (tmp_path / "lake" / "README.md").read_text().split("---\n")[1]
    configs = {each["config_name"]: each["data_files"][0]["path"] for each in yaml.safe_load(head)["configs"]}
    assert [str(tmp_path / "lake" / path) for path in configs[KEY]] == files


def test_our_reader_agrees(files: list[str], tmp_path: Path) -> None:
    uri = str(tmp_path / "lake")
    assert list(live_files(uri, KEY)) == list(published_files(uri, KEY)) == files
    assert read_table(uri, KEY).num_rows == 5
    assert product_key(Lake.open(uri).state, "image-rq") == "image-rq-5e6f7a8b"


def test_an_unknown_product_is_named_with_those_that_are_there(files: list[str], tmp_path: Path) -> None:
    uri = str(tmp_path / "lake")
    with pytest.raises(ConfigError, match=KEY):
        live_files(uri, "sound")
    with pytest.raises(ConfigError, match=KEY):
        published_files(uri, "sound")
