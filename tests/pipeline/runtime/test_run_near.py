"""Decoders on a cluster of several nodes: beside their lane's tokenizers, or elsewhere where there is no room."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.soak]


def test_decoders_start_beside_their_tokenizer_and_elsewhere_once_its_node_is_full() -> None:
    # In a process of its own: it has another Ray than the other tests.
    run = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.runtime.two_nodes"], capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == {
        "text/tokenize": [True],
        "text/workers": [True, True, False],
    }
