from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from pipeline.flow.waits import WaitReason
from pipeline.observe.report import Report, render
from pipeline.observe.report.model import LaneFigures, Letters, Rate, Totals
from pipeline.observe.report.page import bits, clock, decibels, reasons, stretches, visible
from pipeline.observe.report.samples import Gallery, ImageCard, ImageVersion
from pipeline.observe.status import State

HOSTILE = """<script>alert("x")</script><img src=x onerror='y'>"""
VOID = {"meta", "img", "input", "br", "hr", "link"}
EMPTY = Report("out/lake", 1, datetime(2026, 11, 24, tzinfo=UTC), Totals(0, 0, 0, 0, 0), ())


@dataclass
class Page(HTMLParser):
    """Elements with their attributes, and text by the tag that holds it; fails where tags don't nest."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.inside.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.inside, f"</{tag}> closes nothing"
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts.setdefault(self.inside[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def having(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.inside == []
    return page


def section(html: str, name: str) -> str:
    return html.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_the_page_is_well_formed_and_every_anchor_leads_somewhere(report: Report) -> None:
    page = parsed(render(report))
    ids = page.having("id")
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    targets = [link for link in page.having("href") if link.startswith("#")]
    assert len(targets) > 7
    assert {target[1:] for target in targets} <= set(ids)
    assert set(page.having("aria-labelledby")) <= set(ids)


def test_what_strangers_wrote_stays_text(report: Report) -> None:
    html = render(report)
    page = parsed(html)
    assert HOSTILE not in html
    assert 'alert("x")' not in html
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all(image.get("src", "data:").startswith("data:") for image in page.all("img"))
    assert "\u202e" not in html, "the direction of writing can't be turned"
    assert html.count("&lt;script&gt;alert") >= 12, "it is shown wherever it stands"


def test_only_our_script_may_run_and_nothing_may_be_loaded(report: Report) -> None:
    page = parsed(render(report))
    script = "".join(page.texts["script"])
    policy = next(
        meta["content"] for meta in page.all("meta") if "content-security-policy" in meta.get("http-equiv", "").lower()
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_nothing_refers_to_a_network(report: Report) -> None:
    page = parsed(render(report))
    referring = [page.having(name) for name in ("src", "href", "srcset", "poster", "action", "data")]
    assert [value for values in referring for value in values if not value.startswith(("data:", "#"))] == []
    style = "".join(page.texts["style"])
    assert "@import" not in style
    assert "url(" not in style
    assert page.all("link") == []


def test_it_has_both_colour_schemes_and_fits_a_phone(report: Report) -> None:
    page = parsed(render(report))
    style = "".join(page.texts["style"])
    assert "prefers-color-scheme: dark" in style
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    names = set(re.findall(r"(--[a-z-]+):", light.partition("}")[0]))
    assert names == set(re.findall(r"(--[a-z-]+):", dark.partition("}")[0]))
    viewport = [meta["content"] for meta in page.all("meta") if meta.get("name") == "viewport"]
    assert viewport == ["width=device-width, initial-scale=1"]


def test_everything_that_can_be_seen_or_pressed_has_a_name(report: Report) -> None:
    page = parsed(render(report))
    assert all("alt" in image for image in page.all("img"))
    for tag in ("audio", "input"):
        labelled = [e for e in page.all(tag) if e.get("aria-label") or e.get("type") in {"radio", "checkbox"}]
        assert labelled == page.all(tag)
    buttons = page.all("button")
    assert all(button.get("aria-label") or button.get("title") for button in buttons)
    assert all(button["type"] == "button" for button in buttons)


def test_the_figures_are_there(report: Report) -> None:
    html = render(report)
    for text in (
        "48,000",
        "4.8 MiB",
        "0.625 bit/px",
        "1.23 kbit/s",
        "21.8×",
        "version 7",
        "24 November 2026, 12:30 UTC",
    ):
        assert text in html
    assert "31.3 dB" in section(html, "images")
    sound = section(html, "sound")
    assert "SI-SDR 12.3 dB" in sound
    assert "log-spectral distance 4.6 dB" in sound
    assert "first 0.2 s of 5.0 s" in sound


def test_items_are_messages_where_not_all_rows_were_read(report: Report) -> None:
    assert "<dt>Messages</dt><dd>14</dd>" in render(replace(report, totals=replace(report.totals, items=None)))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("products", "no product yet"),
        ("images", "no product of images"),
        ("sound", "no product of sound"),
        ("film", "no product of films"),
        ("text", "no product of text"),
        ("run", "No run has left its status"),
        ("letters", "everything that was read has its outcome"),
    ],
)
def test_an_empty_section_says_so(name: str, says: str) -> None:
    html = render(EMPTY)
    parsed(html)
    assert says in section(html, name)
    assert "<table" not in section(html, name)


def test_a_product_without_rows_is_told_from_no_product(report: Report) -> None:
    html = render(replace(report, galleries=(), listenings=()))
    assert "No images were tokenized yet" in section(html, "images")
    assert "No sound was tokenized yet" in section(html, "sound")


def test_the_reason_for_no_run_is_given() -> None:
    assert "is of another lake" in section(render(replace(EMPTY, why_no_run="The status is of another lake.")), "run")


def test_an_image_without_original_stands_alone_with_the_reason(report: Report) -> None:
    html = section(render(report), "images")
    assert "No original for 1 of 2.</b> fetch.not_found: gone" in html
    assert "it has no inverse" in html
    assert html.count("data-line") == 1, "only where there are two to compare"
    assert "no row of it" in html


def test_an_image_of_which_nothing_is_left_has_its_place() -> None:
    nothing = ImageVersion(4, 1.0, why_not="its weights are others")
    card = ImageCard("s3://b/1", "", 1, 1, None, "gone", (nothing,))
    html = section(render(replace(EMPTY, galleries=(Gallery(("p",), 32, 32, (card,)),))), "images")
    assert "Neither the original nor a reconstruction can be shown" in html
    assert "its weights are others" in html


def test_a_film_shows_where_its_tokens_lie(report: Report) -> None:
    html = section(render(report), "film")
    assert "--a:25.000%;--w:25.000%" in html
    assert "image-rq · 0:00.5 – 0:01.0 · 64 tokens · from token 0 of clip 0 · on screen since 0:00.2" in html
    assert "confidence 0.90" in html
    assert "4 of 40 frames drawn" in html
    assert "first 2.0 s of 9.0 s" in html
    assert html.count("<audio") == 2


def test_a_silent_film_has_a_button_of_its_own(report: Report) -> None:
    assert report.film is not None
    html = render(replace(report, film=replace(report.film, sound=None, original_sound=None)))
    assert section(html, "film").count("data-silent") == 1
    assert "data-silent" not in section(render(report), "film")


def test_a_film_of_no_length_does_not_divide_by_it(report: Report) -> None:
    assert report.film is not None
    bare = replace(report.film, shown_s=0.0, frames=(), lanes=(), sound=None, original_sound=None)
    html = section(render(replace(report, film=bare)), "film")
    assert "No spans lie in what is shown" in html


def test_tokens_of_a_text_are_chips(report: Report) -> None:
    html = section(render(report), "text")
    chips = re.findall(r'<span class="chip t\d( part)?" title="(\d+)">(.*?)<i>', html, re.DOTALL)
    assert chips == [("", "17", "&lt;b&gt;"), ("", "18", " line⏎\n"), (" part", "19", "e2 82")]
    assert "and 2 more" in html
    assert "gives back every byte" in html


def test_a_long_message_is_folded_and_a_long_list_too(report: Report) -> None:
    html = section(render(report), "letters")
    assert html.count("<details>") == 1
    many = Letters({"a": 30}, report.letters.entries[:1] * 20)
    html = section(render(replace(report, letters=many)), "letters")
    assert "12 more" in html
    assert "20 of 30 are listed" in html


def test_waits_and_work_add_up_to_the_run() -> None:
    waited_s = {WaitReason.STARTING: 2.0, WaitReason.NO_INPUT: 5.0, WaitReason.DRAINING: 0.0}
    parts = stretches(LaneFigures("image", State.IDLE, 1, None, 0, waited_s), 10.0)
    assert [(part.name, part.rank) for part in parts] == [("working", 0), ("no_input", 1), ("starting", 2)]
    assert [part.share for part in parts] == pytest.approx([0.3, 0.5, 0.2])
    assert all(part.words for part in parts)


def test_waits_longer_than_the_run_fill_it_and_no_more() -> None:
    parts = stretches(LaneFigures("image", State.IDLE, 1, None, 0, {WaitReason.STARTING: 2.0}), 1.0)
    assert [part.share for part in parts] == [0.0, 1.0]
    assert stretches(LaneFigures("image", State.IDLE, 0, None, 0, {}), 0.0)[0].share == 1.0


def test_a_reason_is_given_once() -> None:
    assert reasons(["a", "", "b", "b"]) == [("b", 2), ("a", 1)]


def test_numbers_are_written_for_people() -> None:
    assert [clock(s) for s in (0, 3.25, 59.99, 75.0)] == ["0:00.0", "0:03.2", "0:59.9", "1:15.0"]
    assert [decibels(db) for db in (None, float("inf"), -3.21)] == ["–", "exact", "−3.2 dB"]
    assert [bits(Rate(b, u)) for b, u in ((24.0, "pixel"), (980.0, "second"), (2.5e6, "second"), (4.512, "byte"))] == [
        "24 bit/px",
        "980 bit/s",
        "2.5 Mbit/s",
        "4.51 bit/byte",
    ]
    assert visible("a\tb\x00\u202ec") == "a⇥b␦␦c"


def test_as_many_samples_as_a_report_may_hold_stay_below_six_megabytes(report: Report) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8))
    picture = np.asarray(coarse.resize((256, 256), Image.Resampling.BICUBIC))
    seconds = 5  # what `pipeline.app.report.sounds` allows one of eight takes at 24 kHz
    loudness = 0.3 * np.clip(np.sin(np.arange(seconds * 24_000) / 4_000) + 0.5, 0, 1)  # with pauses
    speech = (np.convolve(rng.standard_normal(seconds * 24_000), np.ones(12) / 12, "same") * loudness).astype(
        np.float32
    )
    card = replace(report.galleries[0].cards[0], original=picture, versions=(ImageVersion(1, 1.0, picture),) * 2)
    take = replace(report.listenings[0].cards[0].versions[0], samples=speech)
    sound = replace(report.listenings[0].cards[0], rate_hz=24_000, original=speech, versions=(take,))
    assert report.film is not None
    frames = tuple(replace(report.film.frames[0], original=picture, reconstruction=picture) for _ in range(24))
    film_s = np.resize(speech, 24 * 16_000)
    full = replace(
        report,
        galleries=(Gallery(("a", "b"), 256, 256, (card,) * 8),),
        listenings=(replace(report.listenings[0], cards=(sound,) * 4),),
        film=replace(report.film, frames=frames, rate_hz=16_000, sound=film_s, original_sound=film_s),
    )
    assert len(render(full).encode()) < 6_000_000
