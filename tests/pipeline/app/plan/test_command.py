from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.errors import ConfigError
from pipeline.app.plan.command import run_plan
from pipeline.config import Config, parse_config


def texts(tmp_path: Path, **workers: float) -> Config:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.txt").write_text("The North Wind and the Sun.")
    lane = {"products": {"text-bytes": {"tokenizer": "text-bytes"}}, "workers": workers}
    return parse_config({"lake": str(tmp_path / "lake"), "state": str(tmp_path / "state"), "lanes": {"text": lane}})


def test_a_lane_is_measured_in_a_process_of_its_own_and_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_plan(texts(tmp_path), tmp_path / "media", 1.0, "4x2cpu,8gb", json_wanted=True) == 0
    plan = json.loads(capsys.readouterr().out)
    lane = plan["lanes"]["text"]
    assert plan["machines"] == {"name": "4x2cpu,8gb", "cpus": 8, "gpus": 0}
    assert lane["references_hz"] > 0
    assert lane["pools"]["text/workers"]["worker_bytes"] > 0
    assert not (tmp_path / "state").exists()
    assert any("this machine's CPUs" in note for note in plan["notes"])


def test_pools_that_cannot_start_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="= 3 GPUs, the cluster has 2"):
        run_plan(texts(tmp_path, min=3, gpus=1), tmp_path / "nowhere", 1.0, "8cpu,2gpu", json_wanted=False)


def test_a_moment_is_too_short_to_measure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--seconds: at least 1, not 0\.1"):
        run_plan(texts(tmp_path), None, 0.1, None, json_wanted=False)
