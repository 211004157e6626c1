"""A real Kafka and a real S3: those that the environment names, else our own on loopback.

    MEDIATOK_TEST_KAFKA          bootstrap servers
    MEDIATOK_TEST_S3_ENDPOINT, MEDIATOK_TEST_S3_KEY, MEDIATOK_TEST_S3_SECRET

And what stands for Google's and Microsoft's stores: fake-gcs-server and Azurite, always our own.
Where neither can be had the tests are skipped, and the end of the run says so loudly. With CI=true they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

from infra.services import (
    AzureServer,
    GcsServer,
    KafkaServer,
    S3Server,
    ServiceUnavailableError,
    install_azurite,
    install_fake_gcs,
    install_kafka,
    install_versitygw,
)
from infra.services.s3 import make_bucket, remove_bucket, s3_options

# Before anything imports gcsfs: it would ask another service of Google's for each bucket's kind, a minute long.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

_SKIPPED = "needs a real service: "
_missing: dict[str, str] = {}
# Fixture: the variable that makes do without it, and what it needs.
_INSTALLS = {
    "kafka_bootstrap": ("MEDIATOK_TEST_KAFKA", install_kafka),
    "s3_service": ("MEDIATOK_TEST_S3_ENDPOINT", install_versitygw),
    "own_kafka": ("", install_kafka),
    "own_s3": ("", install_versitygw),
    "gcs_service": ("", install_fake_gcs),
    "azure_service": ("", install_azurite),
}


@dataclass
class S3Service:
    """An S3 to test against.

    Attributes:
        endpoint: URL.
        key, secret: of a user who may make buckets.
    """

    endpoint: str
    key: str
    secret: str
    _buckets: list[str] = field(default_factory=list[str])

    @property
    def storage_options(self) -> dict[str, Any]:
        """For `s3fs.S3FileSystem`, and for `storage.s3` in a config."""
        return s3_options(self.endpoint, self.key, self.secret)

    def new_bucket(self) -> str:
        """A fresh, empty bucket's name."""
        self._buckets.append(make_bucket("", self.storage_options))
        return self._buckets[-1]

    def clear(self) -> None:
        """Delete the buckets with all that is in them."""
        while self._buckets:
            remove_bucket(self._buckets.pop(), self.storage_options)


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`bootstrap.servers` of a Kafka 4 that makes no topics by itself."""
    if given := os.environ.get("MEDIATOK_TEST_KAFKA"):
        yield given
        return
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    _try("Kafka", server.start)
    yield server.bootstrap
    server.close()


@pytest.fixture(scope="session")
def s3_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Service]:
    """An S3 with conditional puts."""
    if given := os.environ.get("MEDIATOK_TEST_S3_ENDPOINT"):
        service = S3Service(given, os.environ["MEDIATOK_TEST_S3_KEY"], os.environ["MEDIATOK_TEST_S3_SECRET"])
        yield service
        service.clear()
        return
    server = S3Server(tmp_path_factory.mktemp("s3"))
    _try("S3", server.start)
    yield S3Service(server.endpoint, server.key, server.secret)
    server.close()


@pytest.fixture(scope="session")
def own_kafka() -> type[KafkaServer]:
    """For tests that kill a broker, or need it set up otherwise: theirs to start and to stop."""
    _try("Kafka", install_kafka)
    return KafkaServer


@pytest.fixture(scope="session")
def own_s3() -> type[S3Server]:
    """For tests that kill an S3, or need it set up otherwise: theirs to start and to stop."""
    _try("S3", install_versitygw)
    return S3Server


@pytest.fixture(scope="session")
def gcs_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """What stands for Google Cloud Storage."""
    server = GcsServer(tmp_path_factory.mktemp("gcs"))
    _try("fake-gcs-server", server.start)
    yield server
    server.close()


@pytest.fixture(scope="session")
def azure_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """What stands for Azure Blob Storage."""
    server = AzureServer(tmp_path_factory.mktemp("azure"))
    _try("Azurite", server.start)
    yield server
    server.close()


def _try(service: str, start: Callable[[], object]) -> None:
    try:
        start()
    except ServiceUnavailableError as error:
        _unavailable(service, error)


def _unavailable(service: str, error: ServiceUnavailableError) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI needs {service}: {error}", pytrace=False)
    _missing[service] = str(error)
    pytest.skip(f"{_SKIPPED}{service}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install what the tests to come will ask for: the first time takes minutes, which no test's timeout is for."""
    wanted = {name for item in session.items if isinstance(item, pytest.Function) for name in item.fixturenames}
    if session.config.option.collectonly:
        return
    for fixture, (variable, install) in _INSTALLS.items():
        if fixture in wanted and variable not in os.environ:
            with suppress(ServiceUnavailableError):  # the fixture meets it again, and says what it means there
                install()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested, and why, where nobody overlooks it."""
    if not _missing:
        return
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if _SKIPPED in str(report.longrepr)]
    terminalreporter.section("NOT TESTED: REAL SERVICES", sep="!", red=True, bold=True)
    for reason in _missing.values():
        terminalreporter.line(reason, red=True)
    terminalreporter.line(f"{len(skipped)} tests were skipped for that:")
    for report in skipped:
        terminalreporter.line(f"  {report.nodeid}")
    terminalreporter.line("`python -m infra.services install` brings them; infra/README.md says what they need.")
