"""`python -m infra.services install | up | env | down`: Kafka and versitygw beside a working copy.

`install` brings fake-gcs-server and Azurite too, which only tests start.
Their data, logs and `state.json` (process ids and addresses) lie in the working copy's `.cache/services/`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from infra.services import (
    KafkaServer,
    S3Server,
    ServiceUnavailableError,
    cache_dir,
    install_azurite,
    install_fake_gcs,
    install_kafka,
    install_versitygw,
)

HOME = Path(__file__).parents[2] / ".cache" / "services"
STATE = HOME / "state.json"
STOP_S = 20.0


def up() -> None:
    """Start both, unless they run, and print their addresses."""
    if not _alive():
        down()
        kafka = KafkaServer(HOME / "kafka", detached=True).start()
        s3 = S3Server(HOME / "s3", detached=True).start()
        addresses = {
            "MEDIATOK_TEST_KAFKA": kafka.bootstrap,
            "MEDIATOK_TEST_S3_ENDPOINT": s3.endpoint,
            "MEDIATOK_TEST_S3_KEY": s3.key,
            "MEDIATOK_TEST_S3_SECRET": s3.secret,
        }
        state = {"processes": {"kafka": kafka.pid, "s3": s3.pid}, "environment": addresses}
        STATE.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    env()


def env() -> None:
    """Print the addresses as lines for a shell: `eval "$(python -m infra.services env)"`.

    Raises:
        ServiceUnavailableError: they do not run.
    """
    if not _alive():
        raise ServiceUnavailableError("Kafka and versitygw do not run: start them with `make services`")
    for name, value in _state("environment").items():
        print(f"export {name}={shlex.quote(value)}")


def down() -> None:
    """Stop what `up` started, and delete its data; the logs stay."""
    for name, pid in _state("processes").items():
        if _is_ours(pid, name):
            os.kill(pid, signal.SIGTERM)
            end_s = time.monotonic() + STOP_S
            while _is_ours(pid, name):
                if time.monotonic() > end_s:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.1)
        shutil.rmtree(HOME / name / "data", ignore_errors=True)
    STATE.unlink(missing_ok=True)


def install() -> None:
    """Only bring the programs onto this machine."""
    programs = {
        "Kafka": install_kafka,
        "versitygw": install_versitygw,
        "fake-gcs-server": install_fake_gcs,
        "Azurite": install_azurite,
    }
    for name, bring in programs.items():
        started_s = time.monotonic()
        bring()
        print(f"{name}: {time.monotonic() - started_s:.1f} s")
    print(f"in {cache_dir()}")


def _state(part: str) -> dict[str, Any]:
    """Of the state file: "processes" (ids by name) or "environment" (addresses by variable)."""
    return json.loads(STATE.read_text(encoding="utf-8"))[part] if STATE.exists() else {}


def _alive() -> bool:
    processes = _state("processes")
    return bool(processes) and all(_is_ours(pid, name) for name, pid in processes.items())


def _is_ours(pid: int, name: str) -> bool:
    """Whether this process id still is the server: it has our folder on its command line."""
    if Path("/proc/self").exists():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(ps, capture_output=True, text=True, check=False).stdout
    return str(HOME / name) in command


def main(arguments: list[str]) -> int:
    """The command; exits 2 with one clear line where something is missing."""
    commands = {"install": install, "up": up, "env": env, "down": down}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        commands[arguments[0]]()
    except ServiceUnavailableError as error:
        print(f"infra.services: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
