from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from operators.tokenize.image_patches import ImagePatchesOptions, ImagePatchesTokenizer
from pipeline.app.report.images import IMAGES, galleries
from pipeline.app.report.originals import Originals
from pipeline.config import parse_config
from tests.pipeline.app.report.lakes import LANES, Pictures, png, product_rows, row, sha256

PIXELS = np.full((8, 8, 3), 36, np.uint8)
"""Of which `Pictures` makes 32."""


@pytest.fixture
def originals(tmp_path: Path) -> Originals:
    return Originals(parse_config({"lake": "lake", "lanes": LANES, "fetch": {"roots": [str(tmp_path)]}}))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    (tmp_path / "grey.png").write_bytes(png(PIXELS))
    return (tmp_path / "grey.png").as_uri()


def rows_of(tokenizer, *uris: str, name: str = "pictures", **more):
    made = tokenizer.encode(PIXELS).values
    columns = {"sha256": sha256(png(PIXELS)), "n_tokens": 4, "text": "grey", "width": 8, "height": 8}
    return product_rows(name, tokenizer, [row(uri, made, **columns) for uri in uris], **more)


def test_original_and_reconstruction_are_the_same_window_with_their_psnr(originals, uri) -> None:
    patches = ImagePatchesTokenizer(ImagePatchesOptions(size=8, patch=4))
    (gallery,) = galleries([rows_of(Pictures(), uri), rows_of(patches, uri, name="patches")], originals)
    assert (gallery.products, gallery.height, gallery.width) == (("pictures", "patches"), 8, 8)
    (card,) = gallery.cards
    assert np.array_equal(card.original, PIXELS)
    assert (card.caption, card.width, card.why_no_original) == ("grey", 8, "")
    rough, exact = card.versions
    assert np.array_equal(rough.pixels, np.full((8, 8, 3), 32, np.uint8))
    assert rough.psnr_db == pytest.approx(10 * math.log10(255**2 / 16))
    assert rough.bits_per_pixel == 8 * 4 / 64
    assert np.array_equal(rough.codes, np.full((2, 2), 2 / 16, np.float32))
    assert exact.psnr_db == math.inf
    assert exact.bits_per_pixel == 3 * 32
    assert exact.codes is None, "embeddings are no codes"


def test_an_image_stays_without_its_original(originals, tmp_path) -> None:
    (gallery,) = galleries([rows_of(Pictures(), (tmp_path / "gone.png").as_uri())], originals)
    (card,) = gallery.cards
    assert card.original is None
    assert "fetch.not_found" in card.why_no_original
    assert card.versions[0].pixels is not None
    assert card.versions[0].psnr_db is None


def test_an_image_stays_without_its_reconstruction(originals, uri) -> None:
    (gallery,) = galleries([rows_of(Pictures(), uri, inverse=False, why_not="other weights")], originals)
    version = gallery.cards[0].versions[0]
    assert (version.pixels, version.why_not) == (None, "other weights")
    assert version.codes is not None


def test_tokens_that_can_not_be_decoded_say_why(originals, uri) -> None:
    patches = ImagePatchesTokenizer(ImagePatchesOptions(size=8, patch=4))
    rows = rows_of(patches, uri)
    rows.tokenizer.patch = 2  # now it expects another shape
    version = galleries([rows], originals)[0].cards[0].versions[0]
    assert version.pixels is None
    assert "tokens must be" in version.why_not


def test_an_item_that_one_product_lacks_has_a_place_all_the_same(originals, uri, tmp_path) -> None:
    first = rows_of(Pictures(), uri, (tmp_path / "other.png").as_uri())
    (gallery,) = galleries([first, rows_of(Pictures(), uri, name="second")], originals)
    assert [card.versions[1] is None for card in gallery.cards] == [False, True]


def test_no_more_than_so_many_are_shown_of_all_parts(originals, tmp_path) -> None:
    uris = [(tmp_path / f"{number}.png").as_uri() for number in range(80)]
    (gallery,) = galleries([rows_of(Pictures(), *uris)], originals)
    assert [card.uri for card in gallery.cards] == uris[:: 80 // IMAGES]


def test_without_products_of_images_there_is_no_gallery(originals) -> None:
    assert galleries([], originals) == ()
