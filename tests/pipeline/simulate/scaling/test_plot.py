from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.simulate.scaling import scenarios
from pipeline.simulate.scaling.graphs import Verdict
from pipeline.simulate.scaling.plot import blocks
from pipeline.simulate.scaling.scenario import Promise
from pipeline.simulate.scaling.theory import Check


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


def test_all_scenarios_are_a_line_each_and_what_is_broken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog = replace(scenarios.SCENARIOS["backlog"], lasts_s=60.0)
    kept = replace(backlog, name="kept", promise=Promise(lag_s=None))
    monkeypatch.setattr("pipeline.app.simulate_scale.SCENARIOS", {"backlog": backlog, "kept": kept})
    result = CliRunner().invoke(app, ["simulate", "scale", "--all"], env={"COLUMNS": "150"})
    assert result.exit_code == 1
    assert "backlog: the backlog was never gone" in result.output
    assert [line.split()[-2] for line in result.output.splitlines() if "1:00" in line] == ["no", "yes"]


def test_graphs_that_are_not_as_they_should_be_are_counted_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(seeds: range, jobs: int, lasts_s: float) -> Iterator[Verdict]:
        assert lasts_s == 1200.0
        return (Verdict(seed, 0.9 if seed == 4 else 1.0, 2, 0, 0.0) for seed in seeds)

    monkeypatch.setattr("pipeline.app.simulate_scale.judge_graphs", judged)
    options = ["--graphs", "2", "--minutes", "20"]
    result = CliRunner().invoke(app, ["simulate", "scale", "graphs", "--seed", "3", *options])
    assert result.exit_code == 1
    assert "seed 4: 90.0% of the best split" in result.output
    assert CliRunner().invoke(app, ["simulate", "scale", "graphs", *options]).exit_code == 0


def test_a_figure_that_is_off_theory_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.app.simulate_scale.checks", lambda: iter([Check("waits", 1.06, 1.0)]))
    result = CliRunner().invoke(app, ["simulate", "scale", "theory"])
    assert result.exit_code == 1
    assert "+6.00%" in result.output


def test_the_scenarios_are_listed_and_others_refused() -> None:
    listed = CliRunner().invoke(app, ["simulate", "scale", "--list"])
    assert listed.exit_code == 0
    assert "rebalance_spiral" in listed.output
    assert CliRunner().invoke(app, ["simulate", "scale", "nonsense"]).exit_code != 0
