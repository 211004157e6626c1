"""A cluster without machines brings one when a lane has work, and lets it go after. Canary for Ray's autoscaler v2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.pipeline.runtime.growing_ray import TEXTS, GrowingRay

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def saw(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("growing")
    with GrowingRay(folder / "ray") as head:
        command = [sys.executable, "-m", "tests.pipeline.runtime.growing_ray", head.address, str(folder)]
        ran = subprocess.run(command, env=os.environ | head.environment, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


def test_an_idle_run_asks_for_no_machine(saw: dict[str, Any]) -> None:
    assert saw["nodes"][:5] == [0] * 5


def test_work_brings_a_machine_and_is_done_there(saw: dict[str, Any]) -> None:
    assert max(saw["nodes"]) == 1
    assert saw["done"] == TEXTS
    assert "1 × 1 CPU" in saw["wanted"]


def test_the_wait_for_a_machine_has_its_name(saw: dict[str, Any]) -> None:
    assert "no_node" in saw["waits"]


def test_a_machine_without_work_goes_again(saw: dict[str, Any]) -> None:
    assert saw["nodes"][-1] == 0
    assert saw["wanted"][-1] == ""
    assert saw["reason"] == "asked"
