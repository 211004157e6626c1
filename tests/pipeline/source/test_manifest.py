from __future__ import annotations

import gzip
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ConfigError
from operators.records import Origin
from pipeline.refs.plain import reference
from pipeline.source.inventory import list_rows
from pipeline.source.listing_rows import Row
from pipeline.source.manifest import is_manifest, manifest_rows


def rows(content: bytes, name: str = "s3://b/m/list.jsonl") -> list[Row]:
    return list(manifest_rows(io.BytesIO(content), name))


WANTED = [
    {"uri": "s3://b/1.jpg", "version": "e1", "size_bytes": 12, "attributes": {"caption": "a, b", "licence": "CC0"}},
    {"uri": "s3://b/2.mp4", "modality": "video", "time_range_s": [0.5, 2.0]},
]


def parquet(table: dict[str, list[Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(table), sink)
    return sink.getvalue()


CSV = (
    b"uri,version,size_bytes,modality,time_range_s,caption,licence\r\n"
    b's3://b/1.jpg,e1,12,,,"a, b",CC0\r\n'
    b's3://b/2.mp4,,,video,"[0.5, 2.0]",,\r\n'
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", CSV),
        ("m.csv", b"\xef\xbb\xbf" + CSV),
        (
            "m.jsonl",
            b'{"uri":"s3://b/1.jpg","version":"e1","size_bytes":12,"caption":"a, b","licence":"CC0"}\n\n'
            b'{"uri":"s3://b/2.mp4","modality":"video","time_range_s":[0.5,2.0],"caption":null,"score":NaN}\n',
        ),
        (
            "m.parquet",
            parquet(
                {
                    "uri": ["s3://b/1.jpg", "s3://b/2.mp4"],
                    "etag": ["e1", None],
                    "size_bytes": [12, None],
                    "modality": [None, "video"],
                    "time_range_s": [None, [0.5, 2.0]],
                    "caption": ["a, b", None],
                    "licence": ["CC0", None],
                    "score": [float("nan"), float("nan")],
                }
            ),
        ),
    ],
)
def test_every_kind_of_manifest_gives_the_same_messages(name: str, content: bytes) -> None:
    found = rows(content, f"s3://b/{name}")
    assert [row.message for row in found] == WANTED
    assert [row.stamp for row in found] == ["e1", ""]


def test_the_messages_are_ours() -> None:
    for row in rows(CSV, "x.csv"):
        parsed = reference(json.loads(row.value), Origin("s", 0, 0, 0))
        assert parsed.uri == row.message["uri"]


def test_nested_and_odd_values_become_json_attributes() -> None:
    content = parquet(
        {"uri": ["s3://b/1"], "tags": [["a", "b"]], "box": [{"x": 1}], "taken": [datetime(2026, 1, 2, 3, 4)]}
    )
    (row,) = rows(content, "x.parquet")
    assert row.message["attributes"] == {"tags": ["a", "b"], "box": {"x": 1}, "taken": "2026-01-02T03:04:00"}


def test_given_attributes_are_merged() -> None:
    (row,) = rows(b'{"uri": "s3://b/1", "attributes": {"a": 1}, "b": 2}')
    assert row.message["attributes"] == {"a": 1, "b": 2}


def test_an_empty_text_stays() -> None:
    (row,) = rows(b'{"uri": "t:1", "text": ""}')
    assert row.message == {"uri": "t:1", "text": ""}


@pytest.mark.parametrize(
    ("given", "manifest", "absolute"),
    [
        ("a/1.jpg", "s3://b/m/list.jsonl", "s3://b/m/a/1.jpg"),
        ("a b.jpg", "file:///d/list.jsonl", "file:///d/a%20b.jpg"),
        ("/data/1.jpg", "s3://b/m/list.jsonl", "/data/1.jpg"),
        ("https://h/1.jpg", "s3://b/m/list.jsonl", "https://h/1.jpg"),
    ],
)
def test_a_relative_uri_lies_beside_the_manifest(given: str, manifest: str, absolute: str) -> None:
    assert rows(json.dumps({"uri": given}).encode(), manifest)[0].message["uri"] == absolute


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.csv", b"url\r\ns3://b/1\r\n", "no column `uri`, only url"),
        ("m.csv", b"", "none at all"),
        ("m.csv", b"uri,a\r\ns3://b/1,2,3\r\n", "row 1: has more cells"),
        ("m.csv", b"uri,size_bytes\r\ns3://b/1,big\r\n", "row 1, column 'size_bytes'"),
        ("m.csv", b"uri\r\n\xff\xfe\r\n", "can't be read"),
        ("m.csv", b"uri,a\r\ns3://b/1,x\r\n,y\r\n", "row 2: has no `uri`"),
        ("m.jsonl", b'{"uri":"s3://b/1"}\n{"uri"\n', "line 2: not JSON"),
        ("m.jsonl", b'["s3://b/1"]\n', "line 1: must be a JSON object"),
        ("m.jsonl", b'{"uri":7}\n', "row 1: has no `uri`"),
        ("m.jsonl", b'{"uri":"s3://b/1","attributes":3}\n', "attributes"),
        ("m.parquet", b"PAR1 but not really", "can't be read"),
        ("m.parquet", parquet({"url": ["s3://b/1"]}), "no column `uri`, only url"),
        ("m.parquet", parquet({"uri": ["s3://b/1"], "thumbnail": [b"\x00"]}), "column 'thumbnail': bytes"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_place(name: str, content: bytes, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rows(content, f"s3://b/{name}")
    assert says in str(caught.value)
    assert f"s3://b/{name}" in str(caught.value)


def test_a_compressed_manifest_and_a_folder_of_parts_are_read(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl.gz").write_bytes(gzip.compress(b'{"uri": "s3://b/1"}\n'))
    assert [row.message for row in list_rows([str(tmp_path / "one.jsonl.gz")], {})] == [{"uri": "s3://b/1"}]
    parts = tmp_path / "many.parquet"
    parts.mkdir()
    for number in range(3):
        (parts / f"part-{number}.parquet").write_bytes(parquet({"uri": [f"s3://b/{number}"]}))
    (parts / "_SUCCESS").touch()
    assert {row.message["uri"] for row in list_rows([str(parts)], {})} == {f"s3://b/{number}" for number in range(3)}
    assert len(list(list_rows([str(parts / "*.parquet")], {}))) == 3


def test_a_manifest_is_told_by_its_name() -> None:
    assert all(map(is_manifest, ["s3://b/x.parquet", "x.CSV", "x.jsonl.gz", "s3://b/spark.parquet/"]))
    assert not any(map(is_manifest, ["s3://b/x.jpg", "s3://b/csv/", "x.txt", "x.gz"]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(uri=st.text(min_size=1), stamp=st.text(), attributes=st.dictionaries(st.text(), JSON, max_size=4))
def test_a_frozen_row_comes_back_as_it_was(uri: str, stamp: str, attributes: dict[str, Any]) -> None:
    row = Row({"uri": uri, "attributes": attributes}, stamp)
    line = row.line()
    assert b"\n" not in line
    assert Row.parse(line) == row
    assert Row.parse(line).value == row.value
