"""A folder with media, a manifest, a config and a lake, and the commands on them in this process and its Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipeline.app.backfill import run_backfill
from pipeline.config import Config, load_config
from pipeline.lake.lake import Lake
from pipeline.lake.reader import read_table
from pipeline.lake.verify import Report, verify
from pipeline.records import Letter

PRETEND = "tests.pipeline.runtime.pretend"


@dataclass
class JobsWorld:
    """See the module. The lane takes texts."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "run.yaml"

    @property
    def uri(self) -> str:
        return str(self.folder / "lake")

    def configure(self, products: Mapping[str, Mapping[str, Any]], **text: Any) -> Config:
        raw = {
            "lake": self.uri,
            "state": str(self.folder / "state"),
            "commit": {"interval_s": 0.3},
            "fetch": {"roots": [str(self.folder)], "retry_s": 0},
            "lanes": {"text": {"products": products, "limits": {"seal_age_s": 0.5}, **text}},
        }
        self.path.write_text(yaml.safe_dump(raw))
        return load_config(self.path)

    def text(self, name: str, content: bytes | None) -> str:
        """A file, or none; returns its uri."""
        path = self.folder / name
        if content is not None:
            path.write_bytes(content)
        return path.as_uri()

    def backfill(self, rows: Sequence[Mapping[str, Any]]) -> int:
        manifest = self.folder / "manifest.jsonl"
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run_backfill([str(manifest)], self.uri, self.path)

    def lake(self) -> Lake:
        return Lake.open(self.uri, read_only=True)

    def rows(self, product: str) -> pa.Table:
        return read_table(self.uri, product)

    def texts(self, product: str) -> list[str]:
        """What its rows' codes say, sorted."""
        return sorted(bytes(codes).decode() for codes in self.rows(product).column("codes").to_pylist())

    def letters(self, name: str) -> list[Letter]:
        return sorted(self.lake().open_letters(name), key=lambda letter: (letter.origin, letter.product))

    def verified(self) -> Report:
        report = verify(self.lake().store)
        assert report.ok, report.findings
        return report
