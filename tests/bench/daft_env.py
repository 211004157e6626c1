"""An environment with Daft, made when it is first asked for: Daft is no dependency of ours.

It holds Daft and what Daft itself needs, pinned; everything else, the operators' own libraries, is found in the
environment that runs the bench, behind it on the path: so both sides have the very same decoders and networks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

VERSION = "0.7.26"
RELEASED = "October 2026"
HOME = Path("out/bench/environments")
REPOSITORY = Path(__file__).parents[2]


class NoDaftError(Exception):
    """It can't be installed here; says why."""


def daft_python() -> Path:
    """Its interpreter.

    Raises:
        NoDaftError: no uv, or no package index.
    """
    home = (REPOSITORY / HOME / f"daft-{VERSION}").absolute()
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    uv = shutil.which("uv") or str(REPOSITORY / ".uv" / "bin" / "uv")
    if not Path(uv).exists():
        raise NoDaftError("uv is not installed: make test brings it")
    shutil.rmtree(home, ignore_errors=True)
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(home)])
    _run([uv, "pip", "install", "--quiet", "--python", str(python), f"daft=={VERSION}"])
    (site,) = home.glob("lib/python*/site-packages")
    (site / "operators_libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (home / "complete").touch()
    return python


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise NoDaftError(f"{' '.join(command)}: {error.stderr.strip()}") from error
