"""Fits weights for the tokenizer `image-rq`, and writes them with a card.

`python -m operators.fit.image_rq` makes the shipped ones anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from operators.errors import ConfigError
from operators.fit.crops import Photo, centre_crop, random_crops
from operators.fit.photos import HELD_OUT, TRAINING, Shipped, read_photo, read_photos
from operators.fit.residual_quantizer import FitSettings, Progress, fit_residual_quantizer, quiet
from operators.models.checkpoints import save_tensors
from operators.models.checksum import sha256_of
from operators.models.patch_codec import PatchCodec, PatchCodecWeights

SHIPPED = Path(__file__).parents[1] / "tokenize" / "weights" / "image-rq.safetensors"
CROP = 256
SHIPPED_SETTINGS = FitSettings(dims=48, iterations=16, vectors=262_144)
SHIPPED_CROPS = 384


@dataclass(frozen=True, slots=True)
class FitReport:
    """What a fit gave.

    Attributes:
        weights: the file written.
        card: the file that describes it.
        sha256: of the weights.
        fitted_on: how many photographs.
        psnr_db: for each held-out photograph, with 1, 2, ... layers.
        refused: files that could not be read, and why.
        fit_s: of the fit itself, without reading and cropping.
    """

    weights: Path
    card: Path
    sha256: str
    fitted_on: int
    psnr_db: Mapping[str, tuple[float, ...]]
    refused: Mapping[Path, str]
    fit_s: float


def fit_images(
    paths: Sequence[Path],
    out: Path,
    *,
    held_out: Sequence[Path] = (),
    crops: int = SHIPPED_CROPS,
    settings: FitSettings = SHIPPED_SETTINGS,
    licence: str = "that of the photographs it was fitted on",
    progress: Progress = quiet,
) -> FitReport:
    """Fit on the user's own photographs.

    Args:
        paths: of image files; no more than `crops` of them are read, drawn by the seed.
        out: the weights, "….safetensors"; the card goes beside it.
        held_out: photographs to measure on; without any, a tenth of `paths` (at least one) where there are four.
        crops: of 256×256 pixels, cut from the photographs in turn.
        settings: of the fit.
        licence: for the card.
        progress: told what is being done, and the share done.

    Raises:
        ConfigError: no photograph can be read, or the crops have fewer patches than there are codewords.
    """
    chosen, measured = _split(paths, held_out, crops, settings.seed)
    progress("reading photographs", 0.0)
    photos, refused = read_photos(chosen)
    measured_photos, also_refused = read_photos(measured)
    if not photos:
        raise ConfigError(
            f"none of {len(chosen)} files is an image that can be read: {dict(list(refused.items())[:3])}"
        )
    weights, fit_s = _fit(list(photos.values()), crops, settings, progress)
    psnr = {path.name: _psnr_by_layers(weights, photo) for path, photo in measured_photos.items()}
    origin = [f"{len(photos)} photographs of the user's own; licence: {licence}."]
    sha256 = _save(out, weights, settings)
    card = out.with_suffix(".md")
    report = FitReport(out, card, sha256, len(photos), psnr, {**refused, **also_refused}, fit_s)
    _write_card(report, settings, crops, origin, "mediatok fit image-rq --media DIR --out FILE")
    return report


def fit_shipped(
    out: Path, *, settings: FitSettings = SHIPPED_SETTINGS, crops: int = SHIPPED_CROPS, progress: Progress = quiet
) -> FitReport:
    """Fit the weights that mediatok ships, from photographs that other packages ship."""
    photos = [read_photo(shipped.path) for shipped in TRAINING for _ in range(shipped.weight)]
    weights, fit_s = _fit(photos, crops, settings, progress)
    psnr = {shipped.name: _psnr_by_layers(weights, read_photo(shipped.path)) for shipped in HELD_OUT}
    report = FitReport(out, out.with_suffix(".md"), _save(out, weights, settings), len(TRAINING), psnr, {}, fit_s)
    origin = ["Photographs that ship with scikit-image and their terms, as scikit-image states them:", ""]
    origin += ["| photograph | terms | weight |", "|---|---|---|", *map(_table_row, TRAINING), ""]
    origin += ["Held out:", "", "| photograph | terms |", "|---|---|"]
    origin += [f"| {shipped.name} | {shipped.licence} |" for shipped in HELD_OUT]
    origin += [
        "",
        "`dims`, `crops` and how often each photograph is taken were picked out of three tries by these held-out ones.",
    ]
    _write_card(report, settings, crops, origin, "python -m operators.fit.image_rq")
    return report


def psnr_db(image: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio over all pixels and channels."""
    error = float(np.mean((image.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def _fit(
    photos: Sequence[Photo], crops: int, settings: FitSettings, progress: Progress
) -> tuple[PatchCodecWeights, float]:
    weights, fit_s = fit_residual_quantizer(random_crops(photos, crops, CROP, settings.seed), settings, progress)
    # As stored: what is measured is what will be used.
    return PatchCodecWeights.of(weights.tensors()), fit_s


def _psnr_by_layers(weights: PatchCodecWeights, photo: Photo) -> tuple[float, ...]:
    image = np.array(centre_crop(photo, CROP))
    found = list[float]()
    for layers in range(1, weights.codebooks.shape[0] + 1):
        codec = PatchCodec(weights, layers)
        found.append(psnr_db(image, codec.decode(codec.encode(torch.from_numpy(image)[None]))[0].numpy()))
    return tuple(found)


def _split(
    paths: Sequence[Path], held_out: Sequence[Path], limit: int, seed: int
) -> tuple[Sequence[Path], Sequence[Path]]:
    """Which to fit on, which to measure on."""
    drawn = random.Random(seed).sample(sorted(paths), min(len(paths), limit))  # noqa: S311
    if held_out or len(drawn) < 4:
        return drawn, held_out
    kept = max(1, len(drawn) // 10)
    return drawn[kept:], drawn[:kept]


def _table_row(shipped: Shipped) -> str:
    return f"| {shipped.name} | {shipped.licence} | {shipped.weight} |"


def _save(out: Path, weights: PatchCodecWeights, settings: FitSettings) -> str:
    """Write the weights; returns their sha256."""
    out.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(out, weights.tensors(), {"format": "mediatok image-rq 1", "patch": str(settings.patch)})
    return sha256_of(out)


def _write_card(report: FitReport, settings: FitSettings, crops: int, origin: list[str], command: str) -> None:
    layers = range(1, settings.layers + 1)
    lines = [
        f"# {report.weights.stem}",
        "",
        f"Weights of the tokenizer `image-rq`: {settings.patch}×{settings.patch} patches of RGB, {settings.dims} "
        f"principal components, {settings.layers} residual codebooks of {settings.codebook_size}, and for each number "
        "of layers a linear inverse over 3×3 patches.",
        "",
        f"- fitted: {datetime.datetime.now(tz=datetime.UTC).date()}, in {report.fit_s:.0f} s, by `{command}`",
        f"- from: {report.fitted_on} photographs, {crops} crops of {CROP}×{CROP} "
        "(turned, mirrored, scaled, recoloured)",
        f"- settings: {dataclasses.asdict(settings)}",
        f"- {report.weights.stat().st_size} bytes, sha256 {report.sha256}",
        "",
        "## PSNR on photographs that it was not fitted on",
        "",
        f"Centre crops, scaled to cover {CROP}×{CROP}; dB over all pixels and channels.",
        "",
        "| photograph | " + " | ".join(f"{n} layer{'s' * (n > 1)}" for n in layers) + " |",
        "|---|" + "---|" * settings.layers,
        *(f"| {name} | " + " | ".join(f"{db:.2f}" for db in row) + " |" for name, row in report.psnr_db.items()),
        "",
        "## From what",
        "",
        *origin,
        "",
    ]
    report.card.write_text("\n".join(lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Fit the weights of image-rq that mediatok ships.")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where to, with a card beside it (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (%(default)s)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    report = fit_shipped(given.out, progress=_show)
    sys.stdout.write(report.card.read_text(encoding="utf-8"))


def _show(what: str, share: float) -> None:
    sys.stderr.write(f"{share:4.0%} {what}\n")


if __name__ == "__main__":
    main()
