"""An S3 that loses the condition of a put: refused before anything is committed, unless one writer has a lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import s3fs
import yaml
from moto.server import ThreadedMotoServer

from operators.errors import ConfigError, StoreUnsafeError
from pipeline.app.check import findings
from pipeline.app.skip import skip_offsets
from pipeline.config import parse_config
from pipeline.lake.delta import Opening, Start
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store, open_to_commit
from pipeline.lake.proposal import Proposal
from pipeline.records import Sealed
from tests.golden.make_lake import FIRST, LOG, bring_shard, span
from tests.integration.fault_proxy import Fault, FaultProxy, always
from tests.integration.independent_count import Place, lake_products


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    """Of an S3 that creates what is there. It knows no signatures, so that the proxy may change what was signed."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with FaultProxy(f"http://{host}:{port}") as proxy:
        proxy.plan = always(Fault.UNCONDITIONAL, lambda request: request.conditional)
        client = {"client_kwargs": {"region_name": "us-east-1"}}
        yield {"key": "k", "secret": "s", "endpoint_url": proxy.endpoint, **client}
    server.stop()


@pytest.fixture
def uri(options: Mapping[str, Any]) -> str:
    bucket = f"b-{uuid4().hex[:12]}"
    s3fs.S3FileSystem(**options, skip_instance_cache=True).call_s3("create_bucket", Bucket=bucket)
    return f"s3://{bucket}/lake"


@pytest.fixture
def config(uri: str, options: Mapping[str, Any], tmp_path: Path) -> dict[str, Any]:
    lanes = {"text": {"topics": ["t"], "products": {"bytes": {"tokenizer": "text-bytes"}}}}
    return {"lake": uri, "storage": {"s3": options}, "lanes": lanes, "ray": {"cpus": 2, "gpus": 0}}


def test_check_and_the_start_of_a_run_refuse_it_and_say_what_to_do(
    config: dict[str, Any], uri: str, options: Mapping[str, Any]
) -> None:
    found = {finding.what: finding for finding in findings(parse_config(config))}["store"]
    assert not found.ok
    assert "store.unsafe" in found.detail
    assert "commit.single_writer_lock" in found.detail
    with pytest.raises(StoreUnsafeError, match=r"commit\.single_writer_lock"):
        open_to_commit(uri, options)
    assert open_store(uri, options).list("") == []


def test_two_writers_would_lose_a_commit_on_it(uri: str, options: Mapping[str, Any]) -> None:
    """The danger is real: what was just committed is overwritten by the next one."""
    lakes = [Lake(open_store(uri, options)) for _ in range(2)]
    for lake in lakes:
        lake.commit(Proposal((), (Opening(FIRST, "image"),), (Start(FIRST.key, LOG, 0),)))
    assert [lake.state.version for lake in lakes] == [1, 1]


def test_one_writer_with_a_lock_commits_each_message_once(
    config: dict[str, Any], uri: str, options: Mapping[str, Any], tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    locked = parse_config({**config, "commit": {"single_writer_lock": str(lock)}})
    store = {finding.what: finding for finding in findings(locked)}["store"]
    assert store.ok, store.detail

    shared = open_to_commit(uri, options, lock)
    Lake(shared).commit(Proposal((), (Opening(FIRST, "image"),), (Start(FIRST.key, LOG, 0),)))

    def run(who: int) -> None:
        lake = Lake(shared)
        for turn in range(4):
            offsets = [3 * turn + (who + step) % 3 for step in range(2)]
            lake.commit(
                Proposal((Sealed(FIRST.key, (bring_shard(lake, FIRST, LOG, *offsets),), (span(LOG, *offsets),)),))
            )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(3)))
    kept = lake_products(uri, options)[FIRST.name]
    assert dict(kept.covered) == {Place(LOG.source_id, LOG.partition, offset): 1 for offset in range(12)}
    assert set(kept.windows.values()) == {1}

    # Whoever else would write it is sent away, a command too.
    second = {finding.what: finding for finding in findings(locked)}["store"]
    assert not second.ok
    assert str(lock) in second.detail
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump({**config, "commit": {"single_writer_lock": str(lock)}}), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="only one may write"):
        skip_offsets(uri, f"{LOG.source_id}/0", 100, 101, "expired", tmp_path / "run.yaml")
