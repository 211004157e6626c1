from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from pipeline.observe.status import STATUS_FILE, State
from pipeline.runtime.coordinator import Progress
from pipeline.runtime.observer import Observer


def test_a_status_that_cannot_be_written_is_said_once_and_ends_nothing(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file where the folder should be")
    shown: list[Any] = []
    observer = Observer("run.yaml", "lake", in_the_way, (), shown.append)
    idle: Any = SimpleNamespace(lanes=(), decisions={}, progress=Progress(version=3), wanted_nodes="")
    with capture_logs() as lines:
        observer.publish(idle, 0.0, State.RUNNING)
        observer.publish(idle, 1.0, State.RUNNING)
        in_the_way.unlink()
        observer.publish(idle, 2.0, State.RUNNING)
    assert [line["event"] for line in lines] == ["status can't be written"]
    assert len(shown) == 3
    assert (in_the_way / STATUS_FILE).exists()
