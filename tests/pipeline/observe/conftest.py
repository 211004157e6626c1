from __future__ import annotations

import pytest

from operators.records import Origin
from pipeline.flow.waits import WaitReason
from pipeline.observe.status import CreditStatus, LaneStatus, OldestItem, PoolStatus, RunStatus, State


@pytest.fixture
def status() -> RunStatus:
    return sample_status()


def sample_status() -> RunStatus:
    image = LaneStatus(
        lane="image",
        state=State.PAUSED,
        lag_items=1_204_311,
        in_flight_items=4096,
        in_flight_bytes=498 << 20,
        done_items=73_204,
        letters=12,
        rate_hz=1413.2,
        tokens_hz=5.8e6,
        credits=CreditStatus(4096, 4096, 498 << 20, 512 << 20),
        pools=(
            PoolStatus("prepare", 4, 2, 0, 6, 2120, 128, 1502.0, "up_backlog"),
            PoolStatus("tokenize", 1, 0, 1, 1, 310, 256, 1413.2, "clamped_capacity"),
        ),
        waiting=WaitReason.NO_BYTES,
        waited_s={WaitReason.NO_BYTES: 41.0, WaitReason.COMMITTING: 3.2, WaitReason.STARTING: 12.5},
        oldest=OldestItem(
            Origin("AbCdEfGhIjKlMnOpQrStUv", 3, 88_123, 0),
            "s3://photos/2026/11/24/a-rather-long-name/of-a-photograph-in-a-deep-folder-0001.jpg",
            14.2,
            "tokenize",
        ),
        committed_version=118,
    )
    text = LaneStatus(
        lane="text",
        state=State.IDLE,
        lag_items=0,
        in_flight_items=0,
        in_flight_bytes=0,
        done_items=3,
        letters=0,
        rate_hz=0.0,
        tokens_hz=0.0,
        credits=CreditStatus(0, 4096, 0, 64 << 20),
        pools=(PoolStatus("text/workers", 0, 0, 0, 0, 0, 0, 0.0, "down_idle"),),
        waiting=WaitReason.NO_INPUT,
        waited_s={WaitReason.NO_INPUT: 4000.0},
        oldest=None,
        committed_version=7,
    )
    return RunStatus(
        state=State.RUNNING,
        config="examples/demo.yaml",
        lake="s3://lake/mediatok",
        pid=4711,
        host="worker-0",
        started_at_s=1_000_000.0,
        written_at_s=1_000_123.0,
        lanes=(image, text),
        notes=("text/tokenize: 0 of 1 workers fit: a worker takes 0.6 GPU, 0.8 are free but no more than 0.4 on one",),
    )
