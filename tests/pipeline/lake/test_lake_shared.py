"""Several committers for real: threads on one folder, and a lake in a bucket."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.proposal import Proposal
from pipeline.lake.reader import read_table
from pipeline.lake.verify import verify
from pipeline.records import Sealed


@pytest.fixture
def bucket() -> Iterator[tuple[str, dict[str, object]]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint, name = f"http://{host}:{port}", f"lake-{uuid4().hex[:8]}"
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket=name)
    options = {"key": "k", "secret": "s", "endpoint_url": endpoint, "client_kwargs": {"region_name": "us-east-1"}}
    yield f"s3://{name}/lake", options
    server.stop()


def insist(golden: ModuleType, lake: Lake, wanted: list[int], rng: random.Random) -> None:
    """Commit some at a time until the lake says that all of them are there."""
    while wanted:
        chosen = rng.sample(wanted, min(len(wanted), rng.randint(1, 6)))
        shard = golden.bring_shard(lake, golden.SECOND, golden.LOG, *sorted(chosen))
        part = Sealed(golden.SECOND.key, (shard,), (golden.span(golden.LOG, *chosen),))
        (result,) = lake.commit(Proposal((part,))).parts
        assert result.unsettled == ()
        wanted = [offset for offset in wanted if offset not in chosen]


def test_owners_that_race_for_the_same_messages_commit_each_once(golden: ModuleType, tmp_path: Path) -> None:
    golden.make_lake(tmp_path / "lake")
    uri = str(tmp_path / "lake")
    with ThreadPoolExecutor(4) as pool:
        runs = [
            pool.submit(insist, golden, Lake(open_store(uri)), list(range(100, 130)), random.Random(seed))
            for seed in range(4)
        ]
        for run in runs:
            run.result()
    offsets = Counter(read_table(uri, "image-rq").column("offset").to_pylist())
    assert offsets == Counter([20, 22, *range(100, 130)])
    assert verify(open_store(uri)).findings == []


def test_a_lake_in_a_bucket_works_the_same(
    golden: ModuleType, bucket: tuple[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, options = bucket
    monkeypatch.setattr(golden, "open_store", lambda _: open_store(uri, options))
    lake = golden.make_lake(Path())
    other = Lake(open_store(uri, options))
    insist(golden, lake, [30, 31, 32], random.Random(1))
    insist(golden, other, [31, 32, 33], random.Random(2))
    assert sorted(read_table(uri, "image-rq", options).column("offset").to_pylist()) == [20, 22, 30, 31, 32, 33]
    assert verify(other.store).findings == []
    assert [letter.origin.offset for letter in other.open_letters("image-rq")] == [13]
