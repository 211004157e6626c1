"""The lake's store on a real S3."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.lake.store import LakeStore
from pipeline.lake.store_object import ObjectStore
from tests.pipeline.lake.store_conformance import StoreConformance


@pytest.mark.services
class TestRealS3(StoreConformance):
    @pytest.fixture
    def store(self, s3_service: Any) -> LakeStore:
        return ObjectStore(f"s3://{s3_service.new_bucket()}/some/lake/", s3_service.storage_options)
