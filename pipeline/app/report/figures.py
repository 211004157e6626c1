"""The report's numbers: totals, products, what the last run did, and dead letters."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from operators.errors import ConfigError
from operators.records import Modality, Origin
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.app.content import content_of
from pipeline.app.letters import origin_text
from pipeline.app.report.rows import ProductRows, bits_a_code, bits_of, n_values, span_lengths
from pipeline.lake.lake import Lake
from pipeline.lake.state import covered_messages
from pipeline.observe import units
from pipeline.observe.logs import Redactor
from pipeline.observe.report.model import LaneFigures, LetterEntry, Letters, ProductFigures, Rate, RunFigures, Totals
from pipeline.observe.status import RunStatus, read_status
from pipeline.records import Letter

LETTERS_LISTED = 200
LOG_READ = 1000
"""Versions of the log, from the newest back, in which a run's commits are looked for."""
_ORIGIN = ["source_id", "partition", "offset", "item"]


def product_figures(
    lake: Lake, rows: Mapping[str, ProductRows], tokens_hz: Mapping[str, float] | None
) -> tuple[ProductFigures, ...]:
    """A row a product, closed ones too.

    Args:
        rows: by key, of open products.
        tokens_hz: of the run, by key; None: unknown.
    """
    return tuple(
        ProductFigures(
            name=known.product.name,
            key=key,
            modality=known.product.modality,
            kind=_kind(known.product.spec, rows.get(key)),
            open=known.open,
            rows=lake.state.counters[key].rows,
            tokens=lake.state.counters[key].tokens,
            tokens_hz=None if tokens_hz is None else tokens_hz.get(key),
            stored_bytes=sum(shard.size_bytes for shard in lake.state.shards[key].values()),
            rate=_rate(rows[key]) if key in rows else None,
            ratio=_ratio(rows[key]) if key in rows else None,
        )
        for key, known in lake.state.products.items()
    )


def totals(lake: Lake, rows: Mapping[str, ProductRows], letters: Letters) -> Totals:
    """Over the lake. Of a lane's products each has the same items: they count once."""
    state = lake.state
    messages, items = Counter[str](), Counter[str]()
    known_all = True
    for known in state.products.values():
        lineage = state.lineage(known.product.key) if known.open else ()
        done = sum(covered_messages(state, key) for key in lineage)
        messages[known.lane] = max(messages[known.lane], done)
        ended = sum(state.counters[key].empties for key in lineage) + _open_letters(lake, known.product.name)
        items[known.lane] = max(items[known.lane], ended + sum(_row_items(rows[key]) for key in lineage if key in rows))
        known_all &= all(not state.shards[key] or (key in rows and rows[key].whole) for key in lineage)
    return Totals(
        items=sum(items.values()) if known_all else None,
        messages=sum(messages.values()),
        tokens=sum(counters.tokens for counters in state.counters.values()),
        stored_bytes=sum(shard.size_bytes for shards in state.shards.values() for shard in shards.values()),
        letters=letters.count,
    )


def run_figures(lake: Lake, state: Path | None) -> tuple[RunFigures | None, str, Mapping[str, float] | None]:
    """The run whose status is in that folder, or why there is none; and its tokens a second by product, if known."""
    if state is None:
        return None, "No state folder was given: pass one with --state, or a config with -c.", None
    try:
        reading = read_status(state, time.time())
    except ConfigError as error:
        return None, f"{str(error)[:1].upper()}{str(error)[1:]}.", None
    status = reading.status
    if not _same_lake(status.lake, lake.uri):
        return None, f"The status in {state} is of another lake: {status.lake}", None
    seconds = max(0.0, status.written_at_s - status.started_at_s)
    tokens = _tokens_of_run(lake, status)
    hz = None if tokens is None or not seconds else {key: count / seconds for key, count in tokens.items()}
    lanes = tuple(
        LaneFigures(
            lane=lane.lane,
            state=lane.state,
            done_items=lane.done_items,
            tokens_hz=None if hz is None else sum(hz[key] for key in hz if lake.state.products[key].lane == lane.lane),
            letters=lane.letters,
            waited_s=lane.waited_s,
        )
        for lane in status.lanes
    )
    started_at = datetime.fromtimestamp(status.started_at_s, UTC)
    return RunFigures(status.state, reading.stale, started_at, seconds, lanes, status.notes), "", hz


def letters_of(lake: Lake) -> Letters:
    """The open ones. An item that can't be decoded is a letter in each of its lane's products: listed once."""
    hidden = Redactor()
    groups: dict[tuple[Origin, str], list[Letter]] = {}
    for name in dict.fromkeys(known.product.name for known in lake.state.products.values()):
        for letter in lake.open_letters(name):
            groups.setdefault((letter.origin, letter.failure.code), []).append(letter)
    counts = Counter(code for _, code in groups)
    entries = tuple(
        LetterEntry(
            code=code,
            uri=hidden.text(same[0].uri),
            message=hidden.text(same[0].failure.message),
            products=tuple(_name(lake, letter.product) for letter in same),
            origin=origin_text(origin),
            at=datetime.fromtimestamp(same[0].at_ms / 1000, UTC),
        )
        for (origin, code), same in sorted(groups.items())[:LETTERS_LISTED]
    )
    return Letters(dict(counts.most_common()), entries)


def _name(lake: Lake, key: str) -> str:
    known = lake.state.products.get(key)
    return known.product.name if known else key


def _kind(spec: TokenSpec, rows: ProductRows | None) -> str:
    if rows is not None and rows.parts:
        return " + ".join(part.name for part in rows.parts)
    if spec.kind is TokenKind.EMBEDDINGS:
        return f"embeddings, {' × '.join(units.count(size) for size in spec.shape)}"
    sizes = spec.codebook_sizes
    if len(set(sizes)) == 1 and len(sizes) > 1:
        return f"codes, {len(sizes)} × {units.count(sizes[0])}"
    return f"codes, {' + '.join(units.count(size) for size in sizes)}" if sizes else "codes"


def _rate(rows: ProductRows) -> Rate | None:
    if rows.parts:
        lengths = span_lengths(rows).tolist()
        bits = sum(n * bits_a_code(part.codebook_sizes) for n, part in zip(lengths, rows.parts, strict=True))
    else:
        bits = bits_of(rows.spec, n_values(rows))
    content = content_of(rows.spec, [rows.table])
    match rows.spec.modality:
        case Modality.IMAGE:
            extent, unit = content.pixels, "pixel"
        case Modality.TEXT:
            extent, unit = content.raw_bytes, "byte"
        case Modality.AUDIO | Modality.VIDEO:
            extent, unit = content.media_s, "second"
    return Rate(bits / extent, unit) if extent else None


def _ratio(rows: ProductRows) -> float | None:
    raw_bytes = content_of(rows.spec, [rows.table]).raw_bytes
    return raw_bytes / rows.stored_bytes if raw_bytes and rows.stored_bytes else None


def _row_items(rows: ProductRows) -> int:
    return rows.table.group_by(_ORIGIN).aggregate([]).num_rows


def _open_letters(lake: Lake, name: str) -> int:
    return len({letter.origin for letter in lake.open_letters(name)})


def _same_lake(ours: str, theirs: str) -> bool:
    def full(uri: str) -> str:
        return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().resolve())

    return full(ours.removeprefix("file://")) == full(theirs.removeprefix("file://"))


def _tokens_of_run(lake: Lake, status: RunStatus) -> dict[str, int] | None:
    """By product key, from the versions that this run's process has committed; None where the log is too long."""
    first = max(1, lake.state.version - LOG_READ + 1)
    writer, began_ms = f"{status.host}:{status.pid}", 1000 * status.started_at_s
    tokens: dict[str, int] = dict.fromkeys(lake.state.products, 0)
    for index, delta in enumerate(lake.log(first)):
        if not index and first > 1 and delta.committed_at_ms >= began_ms:
            return None
        if delta.writer == writer and delta.committed_at_ms >= began_ms:
            for shard in delta.shards:
                tokens[shard.product] += shard.tokens
    return tokens


def products_read(rows: Sequence[ProductRows]) -> dict[str, ProductRows]:
    """By key."""
    return {each.product.key: each for each in rows}
