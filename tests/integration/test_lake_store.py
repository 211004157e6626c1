"""The lake's stores as services: a real S3, its bucket in the path and in the host; what stands for the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.services import AzureServer, GcsServer
from infra.services.s3 import DOMAIN
from operators.errors import ConfigError
from pipeline.lake.open_store import open_store
from pipeline.lake.store import LakeStore
from pipeline.lake.store_azure import AzureStore
from pipeline.lake.store_gcs import GcsStore
from pipeline.lake.store_s3 import S3Store
from tests.integration.virtual_host import Loopback, virtual_options
from tests.pipeline.lake.store_conformance import StoreConformance


@pytest.mark.services
class TestRealS3(StoreConformance):
    @pytest.fixture
    def store(self, s3_service: Any) -> LakeStore:
        return S3Store(f"s3://{s3_service.new_bucket()}/some/lake/", s3_service.storage_options)


@pytest.mark.services
class TestRealS3ByHost(StoreConformance):
    @pytest.fixture
    def store(self, s3_service: Any) -> LakeStore:
        return S3Store(f"s3://{s3_service.new_bucket()}/some/lake/", virtual_options(s3_service.storage_options))


@pytest.mark.services
class TestGoogle(StoreConformance):
    @pytest.fixture
    def store(self, gcs_service: GcsServer) -> LakeStore:
        return GcsStore(f"gs://{gcs_service.make_bucket()}/some/lake/", gcs_service.storage_options)


@pytest.mark.services
class TestAzure(StoreConformance):
    large_bytes = (66 << 20) + 4711

    @pytest.fixture
    def store(self, azure_service: AzureServer) -> LakeStore:
        return AzureStore(f"az://{azure_service.make_container()}/some/lake/", azure_service.storage_options)


@pytest.mark.services
def test_by_host_the_bucket_is_part_of_the_hosts_name(s3_service: Any) -> None:
    resolver, bucket = Loopback(), s3_service.new_bucket()
    S3Store(f"s3://{bucket}/lake", virtual_options(s3_service.storage_options, resolver)).write("a", b"x")
    assert set(resolver.asked) == {f"{bucket}.{DOMAIN}"}


@pytest.mark.services
def test_a_bucket_that_is_not_there_is_named(
    s3_service: Any, gcs_service: GcsServer, azure_service: AzureServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for uri, options in (
        ("s3://not-there/lake", s3_service.storage_options),
        ("gs://not-there/lake", gcs_service.storage_options),
        ("az://not-there/lake", azure_service.storage_options),
    ):
        store = open_store(uri, options)
        for put in (
            lambda store=store: store.create("a", b"x"),
            lambda store=store: store.write("a", b"x"),
            lambda store=store: store.write("a", tmp_path / "file"),
        ):
            with pytest.raises(ConfigError, match=f"{uri}: no such bucket"):
                put()


@pytest.mark.services
def test_wrong_credentials_are_not_waited_for(s3_service: Any, azure_service: AzureServer) -> None:
    wrong_key = azure_service.storage_options["connection_string"].replace("Eby8", "Eby9")
    for uri, options in (
        (f"s3://{s3_service.new_bucket()}/lake", {**s3_service.storage_options, "secret": "wrong"}),
        (f"az://{azure_service.make_container()}/lake", {"connection_string": wrong_key}),
    ):
        store = open_store(uri, options)
        for call in (
            lambda store=store: store.create("a", b"x"),
            lambda store=store: store.write("a", b"x"),
            lambda store=store: store.read("a"),
            lambda store=store: store.list(""),
        ):
            with pytest.raises(ConfigError, match=uri):
                call()


def test_a_uri_without_a_bucket_and_options_that_lead_nowhere_are_refused() -> None:
    for uri, options in (("s3://", {}), ("gs://", {}), ("az://", {}), ("az://lake@account/x", {}), ("az://lake", {})):
        with pytest.raises(ConfigError):
            open_store(uri, options)
