"""`mediatok backfill` as a process of its own, started again whenever it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.chaos.ray_head import RayHead
from tests.recovery.digests import HERE, read_notes

MEDIATOK = str(Path(sys.executable).parent / "mediatok")
PACE_S = 0.05
LANES = {"video": "Films", "audio": "Sounds", "image": "Pictures"}


@dataclass(frozen=True)
class Left:
    """What a run that has ended says that it still holds.

    Attributes:
        leases: messages in flight.
        credit_bytes: of windows and tokens.
    """

    leases: int
    credit_bytes: int


class Backfill:
    """A folder of media into a lake, by three lanes whose workers are paced by their tokenizers.

    Films are decoded and tokenized by two workers; recordings are decoded by one and tokenized by two others; pictures
    go to two packers.

    Args:
        folder: for the lake, its state, notes and log.
        media: what is tokenized.
        head: the Ray that it joins, which outlives it.
        pace_s: a window's.
    """

    def __init__(self, folder: Path, media: Path, head: RayHead, pace_s: float = PACE_S) -> None:
        folder.mkdir()
        self.folder, self.lake, self.state = folder, folder / "lake", folder / "state"
        self._media, self._head = media, head
        self._log = folder / "log"
        self._config = folder / "config.yaml"
        self._config.write_text(yaml.safe_dump(self._configured(pace_s)))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Once more, on what is there."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [MEDIATOK, "backfill", str(self._media), "--lake", str(self.lake), "-c", str(self._config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self._head.environment, "MEDIATOK_LOG": "json"},
            )

    @property
    def pid(self) -> int:
        """Of the coordinator."""
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has come to its end by itself.

        Raises:
            RuntimeError: it ended with an error.
        """
        assert self._process is not None
        code = self._process.poll()
        if code:
            raise RuntimeError(f"exit {code}:\n{self._log.read_text()[-3000:]}")
        return code == 0

    def pids(self) -> Mapping[str, int]:
        """Of the actors that the running coordinator has now, by name."""
        status = self._status()
        return status["pids"] if status.get("pid") == self.pid else {}

    def kill(self) -> None:
        """The coordinator, as it stands."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self) -> Left:
        """Until it has done everything."""
        while not self.ended:
            time.sleep(0.2)
        lanes = self._status()["lanes"]
        in_flight = sum(lane["in_flight_items"] for lane in lanes)
        return Left(in_flight, sum(lane["credits"]["bytes_used"] for lane in lanes))

    def close(self) -> None:
        """Kill it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def tokenized(self, lane: str) -> tuple[tuple[float, int], ...]:
        """(seconds since 1970, windows) of each call of a lane's tokenizers."""
        return read_notes(self._notes(lane)).tokenized

    def committed(self, lane: str) -> tuple[tuple[float, int], ...]:
        """(seconds since 1970, rows) of each version of the log that has some of this lane's product."""
        found = list[tuple[float, int]]()
        for path in sorted((self.lake / "_meta" / "log").glob("*/*.json")):
            delta = json.loads(path.read_text())
            shards = [each for each in delta.get("shards", ()) if each["path"].startswith(f"data/product={lane}-")]
            if shards:
                found.append((delta["committed_at_ms"] / 1000, sum(each["rows"] for each in shards)))
        return tuple(found)

    def _notes(self, lane: str) -> Path:
        return self.folder / f"notes-{lane}"

    def _status(self) -> Mapping[str, Any]:
        try:
            return json.loads((self.state / "status.json").read_text())
        except FileNotFoundError:
            return {}

    def _configured(self, pace_s: float) -> dict[str, Any]:
        lanes = dict[str, Any]()
        for lane, tokenizer in LANES.items():
            options = {"pace_s": pace_s, "notes": str(self._notes(lane)), "heavy": True}
            lanes[lane] = {
                "products": {lane: {"tokenizer": f"{HERE}:{tokenizer}", "options": options}},
                "workers": {"min": 1, "max": 1, "cpus": 0.3},
                "limits": {"prepare_batch": 4, "tokenize_windows": 4, "seal_age_s": 1.0},
            }
        lanes["video"]["workers"] = {"min": 2, "max": 2, "cpus": 0.3}
        lanes["audio"]["tokenize"] = {"min": 2, "max": 2, "cpus": 0.3}
        lanes["image"]["packers"] = 2
        return {
            "lake": str(self.lake),
            "state": str(self.state),
            "commit": {"interval_s": 1.0},
            "ray": {"address": self._head.address},
            "lanes": lanes,
        }
