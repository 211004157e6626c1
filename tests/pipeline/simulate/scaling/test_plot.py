from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.simulate.scaling import scenarios
from pipeline.simulate.scaling.plot import blocks


def test_a_line_of_blocks_is_as_high_as_the_largest_value_in_each_part() -> None:
    assert blocks([0.0, 0.0, 8.0, 1.0, 4.0, 4.0], width=3) == " █▄"
    assert blocks([0.0, 0.0], width=5) == "  "


def test_the_command_plots_prints_and_fails_on_a_broken_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(scenarios.SCENARIOS["backlog"], name="short", lasts_s=60.0)
    monkeypatch.setattr("pipeline.app.simulate_scale.SCENARIOS", {"short": short})
    out = tmp_path / "plot.html"
    result = CliRunner().invoke(app, ["simulate", "scale", "short", "--out", str(out)])
    assert result.exit_code == 1
    assert "the backlog was never gone" in result.output
    assert "busy share" in result.output
    page = out.read_text(encoding="utf-8")
    assert page.count("<polyline") == 2
    assert "workers of image/tokenize" in page


def test_the_scenarios_are_listed_and_others_refused() -> None:
    listed = CliRunner().invoke(app, ["simulate", "scale", "--list"])
    assert listed.exit_code == 0
    assert "rebalance_spiral" in listed.output
    assert CliRunner().invoke(app, ["simulate", "scale", "nonsense"]).exit_code != 0
