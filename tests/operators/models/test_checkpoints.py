"""Weights are mapped from their file: processes of one node share its pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from operators.models.checkpoints import save_tensors

SIZE_BYTES = 64 << 20

READER = """
import re, sys
from pathlib import Path
from operators.models.checkpoints import load_tensors

tensors = load_tensors(Path(sys.argv[1]))
assert float(tensors["weights"].sum()) == 0  # touches every page
print("loaded", flush=True)
input()
of_file = re.findall(re.escape(sys.argv[1]) + r"\\n(?:.*\\n)*?Pss: +(\\d+)", Path("/proc/self/smaps").read_text())
print(sum(map(int, of_file)), flush=True)
input()
"""
"""Prints how many KB of the file it holds, pages that two hold counted half for each."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no /proc/self/smaps")
def test_two_processes_hold_weights_once(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {"weights": torch.zeros(SIZE_BYTES // 4)}, {})
    command = [sys.executable, "-c", READER, str(path)]
    readers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        shares = []
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "loaded\n"
        for reader in readers:
            assert reader.stdin is not None and reader.stdout is not None
            print(file=reader.stdin, flush=True)
            shares.append(int(reader.stdout.readline()) << 10)
    finally:
        for reader in readers:
            reader.kill()
    assert shares == [pytest.approx(SIZE_BYTES / 2, rel=0.05)] * 2
