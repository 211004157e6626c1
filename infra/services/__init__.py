"""Apache Kafka and object stores on this machine, without Docker: for tests, and for trying things out."""

from __future__ import annotations

from infra.services.azure import AzureServer
from infra.services.gcs import GcsServer
from infra.services.install import (
    ServiceUnavailableError,
    cache_dir,
    install_azurite,
    install_fake_gcs,
    install_kafka,
    install_versitygw,
)
from infra.services.kafka import KafkaServer
from infra.services.s3 import S3Server

__all__ = [
    "AzureServer",
    "GcsServer",
    "KafkaServer",
    "S3Server",
    "ServiceUnavailableError",
    "cache_dir",
    "install_azurite",
    "install_fake_gcs",
    "install_kafka",
    "install_versitygw",
]
