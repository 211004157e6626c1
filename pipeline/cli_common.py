"""What all commands share: their common arguments, examples below the help, exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.")]
LakeUri = Annotated[str, typer.Argument(metavar="LAKE", help="A folder, s3://bucket/prefix, gs://… or az://….")]
Options = Annotated[
    Path | None, typer.Option("--config", "-c", help="Take the store's options (endpoint, secrets) from this config.")
]
StateDir = Annotated[Path, typer.Option("--state", help="The run's state folder, as in its config.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line, for scripts.")]


def examples(*lines: str) -> str:
    """An epilogue: each line stands as it is, ready to be copied."""
    title = "[bold]Examples[/bold]" if len(lines) > 1 else "[bold]Example[/bold]"
    return "\n".join([title, *(f"  [cyan]{line}[/cyan]" for line in lines)])


def leave(code: int) -> None:
    """End with this exit code, unless it is 0."""
    if code:
        raise typer.Exit(code)
