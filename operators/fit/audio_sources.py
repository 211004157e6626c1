"""What the shipped weights of `audio-mdct` were fitted and measured on, and on which terms.

The fit takes folders; these are the names that it knows. All but one come from Debian 12 ("bookworm"); nothing of them
is shipped, and nobody needs them but whoever fits anew; what was drawn by chance was not kept:

- `festvox-ru`: 90 of the `wav` files that the package festvox-ru installs, drawn by chance;
- `flite-…`: `flite -voice rms|slt|kal16|awb` reading paragraphs of "Alice's Adventures in Wonderland", which the
  package flite installs among its examples;
- `festival-slt-hts`: `text2wave` of the package festival with the voice of festvox-us-slt-hts, reading them too;
- `sonic-pi`: the samples that sonic-pi-samples installs, less the two of the "Amen" break;
- `fluid-music`: short pieces composed by chance (chords, melody, bass, arpeggio and drums over the 128 instruments),
  played by fluidsynth from the sound font of fluid-soundfont-gm;
- `librivox`: five excerpts that pocketsphinx-testdata installs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """Recordings of one origin.

    Attributes:
        name: what a table calls it.
        terms: its licence and whose it is.
        speech: whether measures of speech mean something.
    """

    name: str
    terms: str
    speech: bool


ALICE = "text: Lewis Carroll, public domain"

SOURCES = {
    "festvox-ru": Source(
        "Russian sentences read by a man (festvox-ru)", "Festvox licence (BSD-like), Nickolay V. Shmyrev 2005", True
    ),
    "flite-rms": Source("synthetic US English, voice rms (flite)", f"CMU licence (BSD-like), CMU; {ALICE}", True),
    "flite-slt": Source("synthetic US English, voice slt (flite)", f"CMU licence (BSD-like), CMU; {ALICE}", True),
    "flite-kal16": Source("synthetic US English, voice kal16 (flite)", f"CMU licence (BSD-like), CMU; {ALICE}", True),
    "flite-awb": Source("synthetic Scottish English, voice awb (flite)", f"CMU licence (BSD-like), CMU; {ALICE}", True),
    "festival-slt-hts": Source(
        "synthetic US English, voice slt at 32 kHz (festvox-us-slt-hts)",
        f"Festvox licence (BSD-like), CMU 2003, and BSD-3-Clause, HTS; {ALICE}",
        True,
    ),
    "sonic-pi": Source(
        "samples of Sonic Pi (sonic-pi-samples)",
        "CC0 (most, from freesound.org) and MIT, Samuel Aaron (35 of 163)",
        False,
    ),
    "fluid-music": Source(
        "pieces composed by chance, instruments of Fluid R3 (fluid-soundfont-gm)", "MIT, Frank Wen", False
    ),
    "librivox": Source(
        "Jane Austen, Sense and Sensibility, read for LibriVox (pocketsphinx-testdata)",
        "public domain (LibriVox); the package: BSD-2-Clause",
        True,
    ),
    "jfk.flac": Source("John F. Kennedy, inaugural address, 1961 (11 s)", "public domain", True),
}
"""By the name of a folder, or of a file beside them."""


def source_of(path: Path) -> Source | None:
    """The known source that a file belongs to, by its own name or its folder's."""
    return SOURCES.get(path.name) or SOURCES.get(path.parent.name)
