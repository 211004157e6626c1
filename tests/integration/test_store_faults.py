"""Stores behind a proxy that drops, repeats, delays and mutilates: what they say, and what a lake makes of it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infra.services import AzureServer, GcsServer
from infra.services.azure import azure_options
from infra.services.gcs import gcs_options
from operators.errors import ConfigError, StoreUnavailableError
from pipeline.lake.delta import Opening, Start
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.proposal import Proposal
from pipeline.lake.store import CreateAnswer, LakeStore, NoSuchFileError, conditional_put_works
from pipeline.records import Sealed
from tests.golden.make_lake import FIRST, LOG, bring_shard, span
from tests.integration.fault_proxy import Fault, FaultProxy, Plan, Request, always, once
from tests.integration.independent_count import Place, lake_products

SILENCE_S = 0.5
"""After this long without a word the clients give up; the proxy's pauses are longer."""
PATH = "_meta/log/000000/000000001.json"
ON_CREATE = [
    Fault.CLOSE_BEFORE,
    Fault.CLOSE_AFTER,
    Fault.ERROR_500_BEFORE,
    Fault.ERROR_500_AFTER,
    Fault.ERROR_503_BEFORE,
    Fault.ERROR_503_AFTER,
    Fault.DELAY_BEFORE,
    Fault.DELAY_AFTER,
    Fault.TWICE,
    Fault.LATE,
    Fault.HALF_SENT,
    Fault.HALF_ANSWERED,
]
UPLOAD = """
import json, sys
from pathlib import Path
from pipeline.lake.open_store import open_store
open_store(sys.argv[1], json.loads(sys.argv[2])).write("data/large", Path(sys.argv[3]))
"""


def creates(request: Request) -> bool:
    return request.conditional


def gets(request: Request) -> bool:
    return request.method == "GET"


def first_late_then_refused() -> Plan:
    """A client that tries again is sent away for good."""
    late, refused = once(Fault.LATE, creates), always(Fault.REFUSED, creates)
    return lambda request: late(request) or refused(request)


def there(store: LakeStore, path: str) -> bytes | None:
    try:
        return store.read(path)
    except NoSuchFileError:
        return None


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy(pause_s=2 * SILENCE_S) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def proxied_gcs(proxy: FaultProxy, gcs_service: GcsServer, tmp_path_factory: Any) -> Iterator[GcsServer]:
    """Its own: it tells clients where to send a large upload, and that is to be through the proxy."""
    with GcsServer(tmp_path_factory.mktemp("gcs"), public=f"127.0.0.1:{proxy.port}") as server:
        yield server


@dataclass(frozen=True)
class Target:
    """A lake's URI, and the options that lead to it, also through the proxy."""

    uri: str
    options: dict[str, Any]
    through: dict[str, Any]


class StoreFaults:
    large_bytes = (34 << 20) + 4711
    turns = 6

    @pytest.fixture
    def place(self, proxy: FaultProxy) -> Target:
        raise NotImplementedError

    @pytest.fixture
    def quick(self) -> dict[str, Any]:
        """Options, so that the client gives up after a while and soon."""
        raise NotImplementedError

    @pytest.fixture
    def direct(self, place: Target) -> LakeStore:
        return open_store(place.uri, place.options)

    @pytest.fixture
    def through(self, proxy: FaultProxy, place: Target, quick: Mapping[str, Any]) -> Iterator[LakeStore]:
        yield open_store(place.uri, {**place.through, **quick})
        proxy.plan = lambda request: None
        proxy.go.set()
        proxy.settle()
        proxy.faults.clear()
        proxy.waiting.clear()

    # --- an exclusive create

    def test_an_answer_to_a_create_is_true_or_unclear(
        self, proxy: FaultProxy, direct: LakeStore, through: LakeStore
    ) -> None:
        for fault in ON_CREATE:
            path = f"new/{fault}"
            proxy.plan = once(fault, creates)
            answer = through.create(path, b"mine")
            assert proxy.faults[fault] == 1, fault
            if answer is CreateAnswer.CREATED:
                assert there(direct, path) == b"mine", fault
            if answer is CreateAnswer.EXISTS:
                assert there(direct, path) is not None, fault
            proxy.settle()
            assert there(direct, path) in {None, b"mine"}, fault
            # As a commit does: put the same bytes again until they are there, whoever brought them.
            while there(through, path) is None:
                through.create(path, b"mine")
            assert direct.read(path) == b"mine", fault

    def test_what_another_made_is_never_said_to_be_created(
        self, proxy: FaultProxy, direct: LakeStore, through: LakeStore
    ) -> None:
        for fault in ON_CREATE:
            path = f"theirs/{fault}"
            direct.create(path, b"theirs")
            proxy.plan = once(fault, creates)
            assert through.create(path, b"mine") is not CreateAnswer.CREATED, fault
            assert proxy.faults[fault] == 1, fault
            proxy.settle()
            assert direct.read(path) == b"theirs", fault

    def test_a_put_that_lands_late_does_not_replace_what_came_meanwhile(
        self, proxy: FaultProxy, direct: LakeStore, through: LakeStore
    ) -> None:
        proxy.plan = first_late_then_refused()
        proxy.go.clear()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(through.create, PATH, b"mine")
            assert proxy.waiting.wait(10)
            assert direct.create(PATH, b"theirs") is CreateAnswer.CREATED
            with suppress(ConfigError):
                assert asked.result() is CreateAnswer.UNCLEAR
        proxy.go.set()
        proxy.settle()
        assert direct.read(PATH) == b"theirs"

    def test_trouble_is_not_taken_for_a_store_that_ignores_the_condition(
        self, proxy: FaultProxy, through: LakeStore
    ) -> None:
        for fault in (Fault.CLOSE_AFTER, Fault.ERROR_503_BEFORE):
            for number in (1, 2):
                proxy.plan = once(fault, creates, number)
                assert conditional_put_works(through, f"{fault}-{number}")

    # --- reading

    def test_what_is_read_is_whole(
        self, proxy: FaultProxy, direct: LakeStore, through: LakeStore, tmp_path: Path
    ) -> None:
        content = bytes(range(256)) * 4096
        direct.write("data/a", content)
        for fault in (Fault.HALF_ANSWERED, Fault.CLOSE_BEFORE, Fault.ERROR_503_BEFORE, Fault.DELAY_AFTER):
            proxy.plan = once(fault, gets)
            assert through.read("data/a") == content, fault
            proxy.plan = once(fault, gets)
            assert through.read_range("data/a", 1000, 500_000) == content[1000:500_000], fault
            proxy.plan = once(fault, gets)
            through.download("data/a", tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == content, fault
            proxy.plan = once(fault, gets)
            assert through.list("data/") == ["data/a"], fault
            assert proxy.faults[fault] == 4, fault

    def test_what_is_refused_is_not_waited_for(self, proxy: FaultProxy, through: LakeStore) -> None:
        proxy.plan = always(Fault.REFUSED, lambda request: True)
        for call in (
            lambda: through.create("a", b"x"),
            lambda: through.write("a", b"x"),
            lambda: through.read("a"),
            lambda: through.size("a"),
            lambda: through.list(""),
            lambda: through.delete("a"),
        ):
            with pytest.raises(ConfigError):
                call()

    # --- large uploads

    def test_an_upload_that_fails_half_way_leaves_nothing(
        self, proxy: FaultProxy, direct: LakeStore, place: Target, large: Path
    ) -> None:
        proxy.plan = once(Fault.REFUSED, lambda request: request.large, 2)
        with pytest.raises(ConfigError):
            open_store(place.uri, place.through).write("data/large", large)
        assert proxy.faults.pop(Fault.REFUSED) == 1
        assert direct.list("") == []

    def test_an_upload_whose_process_is_killed_leaves_nothing(
        self, proxy: FaultProxy, direct: LakeStore, place: Target, large: Path
    ) -> None:
        proxy.plan = once(Fault.HELD, lambda request: request.large, 2)
        proxy.held.clear()
        uploader = subprocess.Popen([sys.executable, "-c", UPLOAD, place.uri, json.dumps(place.through), str(large)])
        assert proxy.held.wait(60)
        uploader.send_signal(signal.SIGKILL)
        uploader.wait()
        assert direct.list("") == []
        direct.write("data/large", large)
        assert direct.size("data/large") == self.large_bytes

    @pytest.fixture
    def large(self, tmp_path: Path) -> Path:
        path = tmp_path / "large"
        path.write_bytes(b"x" * self.large_bytes)
        return path

    # --- a lake

    def test_commits_through_trouble_bring_each_message_once(
        self,
        proxy: FaultProxy,
        place: Target,
        quick: Mapping[str, Any],
        through: LakeStore,
    ) -> None:
        rng = random.Random(13)

        def plan(request: Request) -> Fault | None:
            return rng.choice(ON_CREATE) if rng.random() < (0.4 if request.conditional else 0.02) else None

        Lake(through).commit(Proposal((), (Opening(FIRST, "image"),), (Start(FIRST.key, LOG, 0),)))
        proxy.plan = plan
        start = threading.Barrier(3)

        def run(who: int) -> None:
            # Each message is brought by two of three, as by an owner and a zombie.
            lake = Lake(open_store(place.uri, {**place.through, **quick}))
            start.wait()
            for turn in range(self.turns):
                offsets = [3 * turn + (who + step) % 3 for step in range(2)]
                sealed = Sealed(FIRST.key, (bring_shard(lake, FIRST, LOG, *offsets),), (span(LOG, *offsets),))
                commit_patiently(lake, Proposal((sealed,)))

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(run, range(3)))
        assert sum(proxy.faults.values()) >= self.turns
        proxy.plan = lambda request: None
        proxy.settle()
        kept = lake_products(place.uri, place.options)[FIRST.name]
        messages = [Place(LOG.source_id, LOG.partition, offset) for offset in range(3 * self.turns)]
        assert dict(kept.covered) == dict.fromkeys(messages, 1)
        assert dict(kept.windows) == dict.fromkeys(((message, 0, 0) for message in messages), 1)


def commit_patiently(lake: Lake, proposal: Proposal) -> None:
    """As a coordinator does: the same again, until it is known what became of it."""
    for _ in range(20):
        try:
            lake.commit(proposal)
        except StoreUnavailableError:
            continue
        return
    pytest.fail("twenty tries were not enough")


@pytest.mark.services
@pytest.mark.soak
class TestS3(StoreFaults):
    @pytest.fixture
    def place(self, proxy: FaultProxy, s3_service: Any) -> Target:
        proxy.upstream = s3_service.endpoint
        options = s3_service.storage_options
        through = {**options, "endpoint_url": proxy.endpoint}
        return Target(f"s3://{s3_service.new_bucket()}/lake", options, through)

    @pytest.fixture
    def quick(self) -> dict[str, Any]:
        return {"config_kwargs": {"read_timeout": SILENCE_S, "retries": {"max_attempts": 0}}}


@pytest.mark.services
@pytest.mark.soak
class TestGoogle(StoreFaults):
    turns = 4

    @pytest.fixture
    def place(self, proxy: FaultProxy, proxied_gcs: GcsServer) -> Target:
        proxy.upstream = proxied_gcs.endpoint
        uri = f"gs://{proxied_gcs.make_bucket()}/lake"
        return Target(uri, proxied_gcs.storage_options, gcs_options(proxy.endpoint))

    @pytest.fixture
    def quick(self) -> dict[str, Any]:
        return {"session_kwargs": {"timeout": aiohttp.ClientTimeout(sock_read=SILENCE_S)}}


@pytest.mark.services
@pytest.mark.soak
class TestAzure(StoreFaults):
    large_bytes = (66 << 20) + 4711

    @pytest.fixture
    def place(self, proxy: FaultProxy, azure_service: AzureServer) -> Target:
        proxy.upstream = azure_service.endpoint
        uri = f"az://{azure_service.make_container()}/lake"
        return Target(uri, azure_service.storage_options, azure_options(proxy.endpoint))

    @pytest.fixture
    def quick(self) -> dict[str, Any]:
        return {"read_timeout": SILENCE_S}
