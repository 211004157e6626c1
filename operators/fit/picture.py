"""Held-out photographs beside what comes back from their codes: the picture in the README and in the card.

`python -m operators.fit.picture OUT.jpg`
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from operators.decode import ImageDecoder
from operators.fit.photos import HELD_OUT
from operators.records import ContentFacts
from operators.tokenize.registry import build
from operators.window import ImageView, parse_view

LAYERS = (1, 2, 4)
GAP = 12
LINE = 26


def main(target: Path) -> None:
    """Draw it."""
    tokenizers = [build("image-rq", {"layers": layers}) for layers in LAYERS]
    view = parse_view(tokenizers[0].spec.view)
    assert isinstance(view, ImageView)
    decoder = ImageDecoder(((view.height, view.width),))
    font = ImageFont.load_default(14)
    columns = 1 + len(LAYERS)
    width = columns * (view.width + GAP) - GAP
    sheet = Image.new("RGB", (width, len(HELD_OUT) * (view.height + LINE + GAP) - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, photo in enumerate(HELD_OUT):
        content = photo.path.read_bytes()
        segment = decoder.decode(content, ContentFacts("", "", len(content)), None)
        original = view.windows(segment.decoded)[0][1]
        pictures = [("original, 24 bits a pixel", original)]
        for layers, tokenizer in zip(LAYERS, tokenizers, strict=True):
            again = tokenizer.decode(tokenizer.encode(original))
            error = np.mean((again.astype(np.float64) - original) ** 2)
            psnr_db = 10 * np.log10(255**2 / error)
            bits = layers * 10 / 64
            pictures.append((f"{layers} code{'s' * (layers > 1)} a patch: {bits:.2f} bits, {psnr_db:.1f} dB", again))
        for column, (label, pixels) in enumerate(pictures):
            x, y = column * (view.width + GAP), row * (view.height + LINE + GAP)
            sheet.paste(Image.fromarray(pixels), (x, y))
            draw.text((x + 2, y + view.height + 5), label, fill="black", font=font)
    sheet.save(target, quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
