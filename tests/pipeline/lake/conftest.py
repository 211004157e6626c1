from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session")
def golden() -> ModuleType:
    """The script that made the golden lake: it knows how to make small real shards."""
    name = "golden_make_lake"
    spec = importlib.util.spec_from_file_location(name, GOLDEN / "make_lake.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
