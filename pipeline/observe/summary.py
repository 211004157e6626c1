"""The table at the end of a run: a row a product, the balance of its items, and how to open what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from pipeline.observe import units
from pipeline.observe.status_table import plain_table

_WIDE = 112
_NAME_WIDTH = 19


@dataclass(frozen=True, slots=True)
class ProductSummary:
    """One product of one run.

    Attributes:
        product: its name, e.g. "image-rq".
        live_path: of its list of live files, below the lake's root.
        items: that the source held for this product.
        row_items: of these, how many have rows.
        empty, letters, void: and how the others ended.
        rows, tokens: committed.
        seconds: from the first reference to the last commit.
        raw_bytes: of the windows that were tokenized (pixels × 3, samples, UTF-8).
        stored_bytes: of the shards.
        pixels: of those windows; 0 for media without.
        media_s: seconds of sound or film in them; 0.0 for media without a clock.
    """

    product: str
    live_path: str
    items: int
    row_items: int
    empty: int
    letters: int
    void: int
    rows: int
    tokens: int
    seconds: float
    raw_bytes: int
    stored_bytes: int
    pixels: int = 0
    media_s: float = 0.0

    @property
    def missing(self) -> int:
        """Items - (row items + empty + letters + void): 0, or something was lost (> 0) or repeated (< 0)."""
        return self.items - (self.row_items + self.empty + self.letters + self.void)

    @property
    def tokens_hz(self) -> float:
        """Tokens a second over the whole run."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def compression(self) -> float | None:
        """Decoded bytes for each byte stored; None where nothing was stored."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes and self.raw_bytes else None

    @property
    def bits_per_pixel(self) -> float | None:
        """Stored; None for media without pixels, and for films."""
        return 8 * self.stored_bytes / self.pixels if self.pixels and not self.media_s else None

    @property
    def bits_hz(self) -> float | None:
        """Stored for each second of sound or film; None for media without a clock."""
        return 8 * self.stored_bytes / self.media_s if self.media_s else None


def render_summary(products: Sequence[ProductSummary], lake: str) -> RenderableType:
    """Table, balance and the lines that open the lake; from 80 columns up.

    Args:
        lake: the root, a path or URI.
    """
    return _SummaryView(tuple(products), lake)


@dataclass(frozen=True, slots=True)
class _SummaryView:
    """Shortens where there is little room."""

    products: tuple[ProductSummary, ...]
    lake: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        show = _Show(wide=options.max_width >= _WIDE)
        yield results_table(self.products, show)
        yield ""
        yield balance_table(self.products, show)
        for each in self.products[:1]:
            yield ""
            yield Text(f"To open {each.product} in Python:", style="bold")
            yield from (Text(f"  {line}") for line in opening_lines(self.lake, each.live_path))


@dataclass(frozen=True, slots=True)
class _Show:
    """How numbers and names are written in the room there is."""

    wide: bool

    def count(self, number: int) -> str:
        return units.compact(number, limit=10_000_000 if self.wide else 1_000_000)

    def name(self, product: str) -> str:
        return product if self.wide else units.middle(product, _NAME_WIDTH)


def results_table(products: Sequence[ProductSummary], show: _Show) -> Table:
    """What came out, product by product."""
    references = "references" if show.wide else "refs"
    letters = "dead letters" if show.wide else "letters"
    ratio = "compression" if show.wide else "ratio"
    table = plain_table(
        "product", references, "rows", "tokens", "tokens/s", letters, *(["stored"] * show.wide), ratio, "bits"
    )
    for each in products:
        table.add_row(
            show.name(each.product),
            show.count(each.items),
            show.count(each.rows),
            show.count(each.tokens),
            show.count(round(each.tokens_hz)),
            Text(show.count(each.letters), style="red" if each.letters else ""),
            *([units.size(each.stored_bytes)] * show.wide),
            "–" if each.compression is None else f"{units.rate(each.compression)}×",
            _bits(each),
        )
    return table


def _bits(each: ProductSummary) -> str:
    """Stored, for each pixel or second."""
    if each.bits_per_pixel is not None:
        return f"{units.rate(each.bits_per_pixel)}/px"
    return "–" if each.bits_hz is None else f"{units.rate(each.bits_hz / 1000)}k/s"


def balance_table(products: Sequence[ProductSummary], show: _Show) -> Table:
    """`items = rows + empty + letters + void`, product by product, and whether it holds."""
    table = plain_table("product", "items", "=", "with rows", "+", "empty", "+", "letters", "+", "void", "")
    table.columns[-1].justify = "left"
    for each in products:
        verdict = Text("holds", style="green")
        if each.missing:
            verdict = Text(
                f"{units.count(abs(each.missing))} {'lost' if each.missing > 0 else 'repeated'}", style="bold red"
            )
        table.add_row(
            show.name(each.product),
            show.count(each.items),
            "=" if not each.missing else "≠",
            show.count(each.row_items),
            "+",
            show.count(each.empty),
            "+",
            show.count(each.letters),
            "+",
            show.count(each.void),
            verdict,
        )
    return table


def opening_lines(lake: str, live_path: str) -> tuple[str, ...]:
    """Python that opens one product's live list with pyarrow and nothing of ours.

    The list is JSON, `{"files": ["data/…/part-….arrow", …], …}`, paths below the lake's root.
    """
    if "://" not in lake:
        return (
            "import json, pathlib, pyarrow.dataset as ds",
            f"lake = pathlib.Path({lake!r})",
            f'live = lake / "{live_path}"',
            'files = [lake / file for file in json.loads(live.read_text())["files"]]',
            'table = ds.dataset(files, format="arrow").to_table()',
        )
    return (
        "import json, pyarrow.dataset as ds, pyarrow.fs as fs",
        f"store, lake = fs.FileSystem.from_uri({lake!r})",
        f'live = store.open_input_stream(lake + "/{live_path}")',
        'files = [f"{lake}/{file}" for file in json.load(live)["files"]]',
        'table = ds.dataset(files, format="arrow", filesystem=store).to_table()',
    )
