"""`mediatok graph` and `mediatok plan`: what a config runs, and what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_common import AsJson, ConfigPath, examples, leave

plan_app = typer.Typer()


@plan_app.command(
    epilog=examples(
        "mediatok graph my.yaml",
        "mediatok graph my.yaml --format mermaid > flow.mmd",
        "mediatok graph my.yaml --format dot | dot -Tsvg > flow.svg",
    )
)
def graph(
    config: ConfigPath,
    form: Annotated[str, typer.Option("--format", "-f", help="tree, mermaid or dot.")] = "tree",
) -> None:
    """Draw lanes, topics, views, tokenizers, packers and datasets, and which of them share a process."""
    from pipeline.app.draw_graph import parse_format, show_graph
    from pipeline.config import load_config

    leave(show_graph(load_config(config), parse_format(form)))


@plan_app.command(
    epilog=examples(
        "mediatok plan my.yaml",
        "mediatok plan my.yaml --media photos/ --seconds 30",
        'mediatok plan my.yaml --nodes "8x16cpu,4gpu,128gb + 2x64cpu"',
    )
)
def plan(
    config: ConfigPath,
    media: Annotated[
        Path | None, typer.Option("--media", help="Measure with these files; without: with the demo's.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="To measure each lane.")] = 12.0,
    nodes: Annotated[
        str | None, typer.Option("--nodes", help="Plan for these instead of this machine or the config's cluster.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the stages on samples, then say what to run where, and what to expect.

    Which operators share a process, workers, memory, rates, bottleneck, and the lines of YAML that would make it so.
    """
    from pipeline.app.plan.command import run_plan
    from pipeline.config import load_config

    leave(run_plan(load_config(config), media, seconds, nodes, json_wanted=as_json))
