from __future__ import annotations

import io
import json

from rich.console import Console

from pipeline.app.plan.nodes import parse_nodes
from pipeline.app.plan.plan import Plan, make_plan
from pipeline.app.plan.show import as_json, show
from tests.pipeline.app.plan.measures import lanes_of, measured


def a_plan() -> Plan:
    config, lanes = lanes_of(image={"workers": {"max": 2}, "tokenize": {"max": 1, "gpus": 0.5}})
    costs = measured(lanes[0], 0.02, 0.004, window_bytes=196_608, media_s=6.0)
    return make_plan(config, lanes, {"image": costs}, parse_nodes("16cpu,1gpu"))


def shown(width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(a_plan(), console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_people_see_costs_rates_reasons_needs_and_yaml() -> None:
    text = shown()
    for part in (
        "for 16cpu,1gpu: 16 CPUs, 1 GPU",
        "image: prepare",
        "± 1%",
        "1 CPU + 0.5 GPU",
        "image apart (apart_gpu",
        "Bottleneck",
        "memory in all",
        "    workers: {max: ",
    ):
        assert part in text


def test_tables_fit_80_columns() -> None:
    assert all(len(line.rstrip()) <= 80 for line in shown().splitlines())


def test_scripts_get_the_same_as_json() -> None:
    data = json.loads(json.dumps(as_json(a_plan())))
    lane = data["lanes"]["image"]
    assert lane["arrangement"] == "apart_gpu"
    assert lane["media_s_hz"] == lane["references_hz"] * 6.0
    assert set(lane["pools"]) == {"image/workers", "image/tokenize"}
    assert data["changes"].startswith("lanes:\n  image:")
