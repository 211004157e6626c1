"""`mediatok report`: a lake, and the last run into it, as one HTML file."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipeline.app.report.figures import letters_of, product_figures, products_read, run_figures, totals
from pipeline.app.report.film import film
from pipeline.app.report.images import galleries
from pipeline.app.report.originals import Originals
from pipeline.app.report.rows import read_rows
from pipeline.app.report.sounds import listenings
from pipeline.app.report.texts import readings
from pipeline.app.report.tokenizers import with_tokenizer
from pipeline.app.storage import options_for, storage_options
from pipeline.config import Config, load_config
from pipeline.lake.lake import Lake
from pipeline.observe import units
from pipeline.observe.report import Report, render


def report_lake(lake_uri: str, config_path: Path | None, state: Path | None, out: Path) -> int:
    """Write the report and say where. Returns the exit code.

    Args:
        state: where a run has left its status; None: the config's, if there is one.

    Raises:
        ConfigError: there is no lake, or the config is wrong.
    """
    config = load_config(config_path) if config_path else None
    write_report(lake_uri, out, config=config, state=state or (config.state if config else None))
    size = units.size(out.stat().st_size)
    Console().print(Text.assemble(str(out), (f"  {size}, opens in any browser", "dim")), soft_wrap=True)
    return 0


def write_report(
    lake_uri: str,
    out: Path,
    *,
    config: Config | None = None,
    state: Path | None = None,
) -> Path:
    """Gather, render, and replace the file: a reader sees the old or the new one, never a part. Returns `out`.

    Args:
        config: brings the store's options, what may be fetched, and tokenizers with weights of their own. Without it
            no original is read.
        state: where a run has left its status.

    Raises:
        ConfigError: there is no lake.
        ShardCorruptError: a live file is not what was written.
    """
    page = render(gather(lake_uri, config=config, state=state))
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    fresh.write_text(page, encoding="utf-8")
    fresh.replace(out)
    return out


def gather(
    lake_uri: str,
    *,
    config: Config | None = None,
    state: Path | None = None,
) -> Report:
    """What the report shows. See `write_report`."""
    storage = storage_options(config) if config else {}
    lake = Lake.open(lake_uri, options_for(lake_uri, storage), read_only=True)
    rows = [with_tokenizer(each, config) for each in read_rows(lake)]
    read = products_read(rows)
    letters = letters_of(lake)
    run, why_no_run, tokens_hz = run_figures(lake, state)
    originals = Originals(config)
    try:
        return Report(
            lake=lake.uri,
            version=lake.state.version,
            made_at=datetime.now(UTC),
            totals=totals(lake, read, letters),
            products=product_figures(lake, read, tokens_hz),
            galleries=galleries(rows, originals),
            listenings=listenings(rows, originals),
            film=film(rows, originals),
            readings=readings(rows),
            run=run,
            why_no_run=why_no_run,
            letters=letters,
        )
    finally:
        originals.close()
