"""`mediatok simulate …`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli_common import examples, leave

simulate_app = typer.Typer(help="Run the production core under a virtual clock, with faults.", no_args_is_help=True)


@simulate_app.command(
    "delivery",
    epilog=examples("mediatok simulate delivery --seeds 2000", "mediatok simulate delivery --first 1234 --seeds 1"),
)
def simulate_delivery(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many schedules.")] = 1000,
    first: Annotated[int, typer.Option("--first", help="The first seed: to reproduce one, --first N --seeds 1.")] = 0,
) -> None:
    """Schedules with crashes, lost answers and zombies: what was lost, repeated, stuck.

    Exit code 1 if anything was.
    """
    from pipeline.app.simulate import run_delivery

    leave(run_delivery(first, seeds))
