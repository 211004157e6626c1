"""The README's Python runs as it stands there, on a lake of a few rows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def lake(golden: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The shape of the rows' codes; the lake lies in out/lake, as after `make run`."""
    made = golden.make_lake(tmp_path / "out" / "lake")
    made.publish_live()
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    opening, pyarrow, *_ = blocks("Read the lake")
    exec(opening + pyarrow, found)
    return found["table"]["shape"][0].as_py()


@pytest.mark.parametrize("reader", [1, 2, 3])
def test_the_lake_opens_in_the_lines_that_are_shown(reader: int, lake: list[int]) -> None:
    shown = blocks("Read the lake")
    assert len(shown) == 4
    # The rows of this lake have another shape than those of `make run`.
    code = (shown[0] + shown[reader]).replace("view(32, 32, 4)", f"view({', '.join(map(str, lake))})")
    found: dict[str, Any] = {}
    exec(code, found)
    if reader == 2:
        assert found["rows"].height == 5
    else:
        assert len(found["codes"])


def test_a_tokenizer_is_used_in_the_lines_that_are_shown() -> None:
    (code,) = blocks("One file, without Ray or a lake")
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["tokens"].values.shape == (75, 8)
    assert found["samples"].shape == (24_000, 1)
