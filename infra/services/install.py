"""Brings the servers' programs onto this machine, once: Kafka's jars by Maven, versitygw by Go."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

VERSITYGW_VERSION = "v1.8.0"
JAVA_AT_LEAST = 17
POM = Path(__file__).parent / "kafka-pom.xml"


class ServiceUnavailableError(Exception):
    """A service can't be installed or started here; says what is missing."""


def cache_dir() -> Path:
    """Where the programs stay: $MEDIATOK_CACHE, else `mediatok` in the user's cache; it outlives a clone."""
    if given := os.environ.get("MEDIATOK_CACHE"):
        return Path(given).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mediatok"


def java() -> str:
    """The Java command: $JAVA_HOME's, else the one on PATH.

    Raises:
        ServiceUnavailableError: none, or too old for Kafka.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        place = f"in {home}/bin (JAVA_HOME)" if home else "on PATH"
        raise ServiceUnavailableError(f"Kafka needs Java {JAVA_AT_LEAST} or newer: there is no `java` {place}")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version.group(1)) < JAVA_AT_LEAST:
        raise ServiceUnavailableError(f"Kafka needs Java {JAVA_AT_LEAST} or newer, {found} says: {said.strip()}")
    return found


def install_kafka() -> Path:
    """The folder with Kafka's jars; copied there by Maven at the first call (about 45 MB).

    Raises:
        ServiceUnavailableError: Java or Maven is missing, or Maven failed.
    """
    java()
    target = cache_dir() / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    with _first_time(target) as workplace:
        if workplace:
            mvn = _tool("mvn", "Kafka's jars come through Maven")
            goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={workplace}"]
            _run([mvn, "-B", "-q", "-f", str(POM), *goal])
    return target


def install_versitygw() -> Path:
    """The versitygw program; built by Go at the first call (about two minutes on two cores).

    Raises:
        ServiceUnavailableError: Go is missing, or the build failed.
    """
    target = cache_dir() / f"versitygw-{VERSITYGW_VERSION}"
    with _first_time(target) as workplace:
        if workplace:
            go = _tool("go", "versitygw is built with Go")
            package = f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW_VERSION}"
            _run([go, "install", package], GOBIN=str(workplace))
    return target / "versitygw"


def _tool(name: str, why: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServiceUnavailableError(f"{why}: there is no `{name}` on PATH")
    return found


def _run(command: list[str], **environment: str) -> None:
    done = subprocess.run(
        command,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ServiceUnavailableError(f"`{' '.join(command)}` failed ({done.returncode}):\n{done.stdout[-4000:]}")


@contextmanager
def _first_time(target: Path) -> Generator[Path | None]:
    """A folder to fill, which then becomes `target`; None where that exists. One process at a time."""
    if target.exists():
        yield None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            yield None
            return
        workplace = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{target.name}."))
        try:
            yield workplace
            workplace.chmod(0o755)
            workplace.rename(target)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
