"""The dataset card: what lies here and how to open it without our code."""

from __future__ import annotations

import json

from pipeline.lake.state import Counters, LakeState

LISTED_FILES = 2_000
"""A product with more live files is opened by its live list only: a card of many MB helps nobody."""

_OPENING = """\
## Opening it

Each product's folder under `data/` is a dataset with one schema. Its *live list* names the files of one committed
version; a listing of the folder may also show files that were never committed, or that have been replaced since.

```python
import json, pathlib

lake = pathlib.Path("PATH/TO/THIS/FOLDER")
live = json.loads((lake / "_meta/live/{product}.json").read_text())
files = [str(lake / path) for path in live["files"]]

import pyarrow.dataset
rows = pyarrow.dataset.dataset(files, format="arrow")          # pyarrow

import polars
frame = polars.scan_ipc(files)                                  # Polars

import duckdb
duckdb.sql("SELECT count(*), sum(n_tokens) FROM rows")          # DuckDB, over pyarrow

import datasets
train = datasets.load_dataset("arrow", data_files=files)        # Hugging Face
```

`codes` are local codes, flat in C order; `shape` says how to fold them. Codebook sizes, axes and the tokenizer's
identity stand in the Arrow schema's metadata under `mediatok`.
"""


def card(state: LakeState) -> bytes:
    """README.md of the lake: a Hugging Face config for each product, a table, and how to open it."""
    listed = [key for key in state.products if 0 < len(state.shards[key]) <= LISTED_FILES]
    lines = ["---"]
    if listed:
        lines.append("configs:")
    for key in listed:
        lines += [f"- config_name: {json.dumps(key)}", "  data_files:", "  - split: train", "    path:"]
        lines += [f"    - {json.dumps(path)}" for path in state.shards[key]]
    lines += ["tags:", "- mediatok", "---", "", "# Token lake", "", f"As of version {state.version} of its log.", ""]
    lines += [
        "| product | lane | revision | state | files | rows | tokens | dead letters | empty | void |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(state, key) for key in state.products]
    example = next(iter(listed), "PRODUCT")
    return ("\n".join(lines) + "\n\n" + _OPENING.replace("{product}", example)).encode()


def _row(state: LakeState, key: str) -> str:
    known, counters = state.products[key], state.counters.get(key, Counters())
    voids = sum(counters.voids.values())
    cells = (
        f"`{key}`",
        known.lane,
        known.product.revision,
        "open" if known.open else "closed",
        len(state.shards[key]),
        counters.rows,
        counters.tokens,
        counters.letters,
        counters.empties,
        voids,
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
