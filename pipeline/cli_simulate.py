"""`mediatok simulate …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_common import examples, leave

simulate_app = typer.Typer(help="Run the production core under a virtual clock, with faults.", no_args_is_help=True)


@simulate_app.command(
    "delivery",
    epilog=examples(
        "mediatok simulate delivery --seeds 2000",
        "mediatok simulate delivery --seeds 100000 --jobs 8",
        "mediatok simulate delivery --first 1234 --seeds 1",
        "mediatok simulate delivery --mistakes",
    ),
)
def simulate_delivery(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many schedules.")] = 1000,
    first: Annotated[int, typer.Option("--first", help="The first seed: to reproduce one, --first N --seeds 1.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    mistake: Annotated[str | None, typer.Option("--mistake", help="Plant this one; --mistakes names them.")] = None,
    mistakes: Annotated[bool, typer.Option("--mistakes", help="Plant every mistake, each until it is caught.")] = False,
) -> None:
    """Schedules with every fault that is known, from crashes to topics made anew: what was lost, repeated, stuck.

    Exit code 1 if anything was; with --mistakes, if one of them was not caught.
    """
    from pipeline.app.simulate import run_delivery, run_mistakes

    leave(run_mistakes(first, seeds) if mistakes else run_delivery(first, seeds, jobs, mistake))


@simulate_app.command(
    "scale",
    epilog=examples(
        "mediatok simulate scale --list",
        "mediatok simulate scale burst --out burst.html",
        "mediatok simulate scale graphs --graphs 1000 --jobs 2",
        "mediatok simulate scale graphs --seed 191 --graphs 1",
        "mediatok simulate scale theory",
        "mediatok simulate scale --all",
    ),
)
def simulate_scale(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="One of --list; `graphs`, `theory`.")] = "steady",
    seed: Annotated[int, typer.Option("--seed", help="Of the noise; of the first of the graphs.")] = 0,
    graphs: Annotated[int, typer.Option("--graphs", min=1, help="How many, with `graphs`.")] = 100,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes, with `graphs`.")] = 1,
    minutes: Annotated[
        float, typer.Option("--minutes", min=1.0, help="Virtual time of each graph; for reversals it takes an hour.")
    ] = 67.0,
    out: Annotated[Path | None, typer.Option("--out", help="Plot workers and lag into this HTML file too.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every scenario, a line each.")] = False,
    names: Annotated[bool, typer.Option("--list", help="Name the scenarios.")] = False,
) -> None:
    """Fleets of up to 4,096 GPUs, sized by the production code: busy share, drain against the optimum, reversals.

    Exit code 1 if a promise of a scenario is broken, a graph is not as it should be, or a figure is 5 % off theory.
    """
    from pipeline.app.simulate_scale import list_scenarios, run_all, run_scale

    if names:
        leave(list_scenarios())
    elif everything:
        leave(run_all(seed))
    else:
        leave(run_scale(scenario, seed, graphs, jobs, minutes * 60.0, out))
