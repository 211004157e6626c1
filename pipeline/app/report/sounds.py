"""Sound for the report: originals beside what each product's tokens give back, the beginning of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from operators.errors import MediatokError
from operators.records import Modality, TokenSequence
from operators.tokenize.base import TokenKind
from pipeline.app.report.originals import Originals, mono
from pipeline.app.report.rows import NotShownError, ProductRows, bits_of, by_view, evenly
from pipeline.observe.report.measures import log_spectral_db, si_sdr_db
from pipeline.observe.report.samples import Codes, Listening, Samples, SoundCard, SoundVersion

SOUNDS = 4
"""Of a group."""
PCM_BYTES = 2_000_000
"""Of all sounds in a report, 16 bits a sample; shared out among what is shown. FLAC takes a third off."""
SHORTEST_S, LONGEST_S = 2.0, 12.0
MOST_COLUMNS = 600
"""Of a picture of codes."""
_LAYERED = 2


def listenings(rows: Sequence[ProductRows], originals: Originals) -> tuple[Listening, ...]:
    """One for each view that products of sound take."""
    groups = by_view(rows, Modality.AUDIO)
    clip_s = shown_s([(rate_of(group[0], 0), len(group)) for group in groups])
    return tuple(_listening(group, originals, clip_s) for group in groups)


def shown_s(groups: Sequence[tuple[int, int]]) -> float:
    """How long each sound may be, so that the page stays small.

    Args:
        groups: sampling rate and number of products of each.
    """
    # Each item is heard once as it was and once for each product.
    bytes_a_second = sum(2 * rate_hz * SOUNDS * (products + 1) for rate_hz, products in groups)
    return max(SHORTEST_S, min(LONGEST_S, PCM_BYTES / bytes_a_second)) if bytes_a_second else LONGEST_S


def _listening(group: Sequence[ProductRows], originals: Originals, clip_s: float) -> Listening:
    items = [rows.items() for rows in group]
    cards: list[SoundCard] = []
    for document in evenly(list(items[0]), SOUNDS):
        windows = [found.get(document, ()) for found in items]
        cards.append(_card(group, windows, originals, clip_s))
    return Listening(tuple(rows.product.name for rows in group), tuple(cards))


def _card(
    group: Sequence[ProductRows], windows: Sequence[tuple[int, ...]], originals: Originals, clip_s: float
) -> SoundCard:
    first, row = group[0], windows[0][0]
    rate_hz = rate_of(first, row)
    original, why = None, ""
    try:
        original = originals.sound(first, row, clip_s)[: round(clip_s * rate_hz)]
    except NotShownError as error:
        why = str(error)
    versions = tuple(
        _version(rows, at, original, clip_s) if at else None for rows, at in zip(group, windows, strict=True)
    )
    end_s = first.value(windows[0][-1], "end") / rate_hz
    duration_s = max(float(first.value(row, "duration") or 0.0), end_s)
    heard = [
        len(each) for each in (original, *(version.samples for version in versions if version)) if each is not None
    ]
    return SoundCard(
        uri=first.value(row, "uri"),
        caption=first.value(row, "text") or "",
        duration_s=duration_s,
        shown_s=max(heard, default=0) / rate_hz or min(clip_s, duration_s),
        rate_hz=rate_hz,
        original=original,
        why_no_original=why,
        versions=versions,
    )


def _version(rows: ProductRows, windows: Sequence[int], original: Samples | None, clip_s: float) -> SoundVersion:
    rate_hz = rate_of(rows, windows[0])
    wanted = [row for row in windows if rows.value(row, "start") < clip_s * rate_hz]
    values = np.concatenate([rows.tokens(row).values for row in wanted])
    end = rows.value(wanted[-1], "end")
    made = SoundVersion(
        n_tokens=sum(rows.value(row, "n_tokens") for row in wanted),
        bits_per_s=bits_of(rows.spec, values.size) * rate_hz / max(1, end),
        codes=codes_picture(rows, values),
    )
    try:
        back = mono(rows.inverse.decode(TokenSequence(values)))[: min(end, round(clip_s * rate_hz))]
    except (NotShownError, MediatokError) as error:
        return replace(made, why_not=str(error))
    if original is None:
        return replace(made, samples=back)
    return replace(
        made, samples=back, si_sdr_db=si_sdr_db(original, back), log_spectral_db=log_spectral_db(original, back)
    )


def rate_of(rows: ProductRows, row: int) -> int:
    """Samples a second: the rows' clock."""
    return round(rows.value(row, "rate_num") / rows.value(row, "rate_den"))


def codes_picture(rows: ProductRows, values: Codes) -> Codes | None:
    """`[T, K]` -> `[K, at most MOST_COLUMNS]`, each code by its codebook's size; None for embeddings."""
    sizes = rows.spec.codebook_sizes
    if rows.spec.kind is not TokenKind.CODES or not sizes or values.ndim > _LAYERED:
        return None
    layers = values[:, None] if values.ndim == 1 else values
    step = -(-len(layers) // MOST_COLUMNS)
    return (layers[::step].astype(np.float32) / np.asarray(sizes[: layers.shape[1]], np.float32)).T
