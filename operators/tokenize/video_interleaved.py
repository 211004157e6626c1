"""`video-interleaved`: a film as one document: pictures, sound and subtitles, interleaved by time, with spans.

Each clip is a row of flat codes. At a sampling time comes the picture, then the sound up to the next sampling time, cut
where a subtitle comes up:

    picture(0 s) sound(0-1 s) picture(1 s) sound(1-1.4 s) text(1.4 s) sound(1.4-2 s) picture(2 s) ...

Sound is cut at whole token frames: a frame belongs to where it begins. Codes are local to their part: offsets into one
vocabulary are added on loading. Clips of one film, in order, are the document: spans count time from the film's t = 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from operators.clips import Clip, Cue, clip_batch, clips_of
from operators.errors import ConfigError, TokenizeFailedError
from operators.forms import CLOCK_HZ, ClipForm, PcmForm
from operators.records import Modality, TokenBatch, TokenSequence, WindowBatch
from operators.spans import SpanTable, TokenSpan
from operators.tokenize.audio_base import AudioTokenizer
from operators.tokenize.base import Precision, Tokenizer, TokenKind, TokenPart, TokenSpec
from operators.tokenize.options import positive_fraction, whole

Codes = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class VideoInterleavedOptions:
    """Options of `video-interleaved`.

    Attributes:
        frames_hz: pictures sampled a second, a number or "30000/1001".
        clip_s: whole seconds of a row.
        image, audio, text: the part's tokenizer: its name, or `{tokenizer: name, options: {...}}`; None for none. All
            must give codes; at least `image` or `audio`.
    """

    frames_hz: int | float | str = 1
    clip_s: int = 10
    image: str | dict[str, Any] | None = "image-rq"
    audio: str | dict[str, Any] | None = "audio-mdct"
    text: str | dict[str, Any] | None = "text-bpe"

    def __post_init__(self) -> None:
        whole("clip_s", self.clip_s, 1, 3600)
        positive_fraction("frames_hz", self.frames_hz)
        if self.image is None and self.audio is None:
            raise ConfigError("options: a film needs `image` or `audio`, or both")


@dataclass(slots=True)
class _Row:
    """One clip's codes and spans, as they grow."""

    codes: list[Codes] = field(default_factory=list[Codes])
    spans: list[TokenSpan] = field(default_factory=list[TokenSpan])
    length: int = 0

    def add(self, part: int, codes: Codes, t0: int, t1: int, cue: Cue | None = None) -> None:
        text, language = (cue.text, cue.language) if cue else (None, None)
        flat = codes.reshape(-1)
        self.spans.append(TokenSpan(part, self.length, len(flat), t0, t1, text=text, language=language))
        self.codes.append(flat)
        self.length += len(flat)


class VideoInterleavedTokenizer:
    """Clips -> flat codes `[T]` with spans; see the module."""

    Options = VideoInterleavedOptions

    def __init__(self, options: VideoInterleavedOptions) -> None:
        self.clip_s = options.clip_s
        self.frames_hz = positive_fraction("frames_hz", options.frames_hz)
        built = {
            modality: _part(modality, given)
            for modality, given in (
                (Modality.IMAGE, options.image),
                (Modality.AUDIO, options.audio),
                (Modality.TEXT, options.text),
            )
            if given is not None
        }
        self.names = tuple(name for name, _ in built.values())
        self.parts: tuple[Tokenizer, ...] = tuple(tokenizer for _, tokenizer in built.values())
        self._of = {modality: index for index, modality in enumerate(built)}
        self.sound = self._sound_part()
        self.precision = Precision.FLOAT32
        self.form = self._form()
        self._dtype = "uint32" if any(part.spec.dtype == "uint32" for part in self.parts) else "uint16"

    @property
    def spec(self) -> TokenSpec:
        """Codes (t) of several parts."""
        parts = tuple(_described(name, part) for name, part in zip(self.names, self.parts, strict=True))
        return TokenSpec(
            kind=TokenKind.CODES,
            modality=Modality.VIDEO,
            view=self.view,
            axes=("t",),
            codebook_sizes=(),
            dtype=self._dtype,
            parts=parts,
        )

    @property
    def view(self) -> str:
        """Key of the view that cuts its clips."""
        sound = "silent"
        if self.form.sound is not None:
            layout = "mono" if self.form.sound.channels == 1 else "stereo"
            sound = f"{self.form.sound.rate_hz}-{layout}+{self.form.sound.context}"
        size, text = f"{self.form.height}x{self.form.width}", "text" if self.form.text else "mute"
        return f"clip:{self.clip_s}s:{self.form.frames_hz}fps:{size}:{sound}:{text}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class, parameters, and what the parts are."""
        parts = {part.spec.modality.value: dict(part.identity) for part in self.parts}
        return {
            "class": "operators.tokenize.video_interleaved:VideoInterleavedTokenizer",
            "options": {"frames_hz": str(self.frames_hz), "clip_s": self.clip_s, **_rebuilt(parts)},
            "parts": parts,
        }

    def to(self, device: str) -> Self:
        """Move all parts."""
        self.parts = tuple(part.to(device) for part in self.parts)
        self.sound = self._sound_part()
        return self

    def in_precision(self, precision: Precision) -> Self:
        """Have the encoders of pictures and sound compute so; text has none.

        Raises:
            ConfigError: one of them can't.
        """
        from operators.tokenize import registry  # which lists this module's tokenizer

        text = self._of.get(Modality.TEXT)
        self.parts = tuple(
            part if index == text else registry.in_precision(part, precision) for index, part in enumerate(self.parts)
        )
        self.sound, self.precision = self._sound_part(), precision
        return self

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        """B clips in, B rows out: all pictures in one call of their tokenizer, all sound in one, all texts in one."""
        clips = clips_of(batch)
        pictures, sounds, texts = self._pictures(batch), self._sounds(clips), self._texts(clips)
        parts = zip(clips, pictures, sounds, texts, strict=True)
        rows = [self._interleaved(clip, shown, heard, said) for clip, shown, heard, said in parts]
        codes = [np.concatenate([np.zeros(0, self._dtype), *row.codes]) for row in rows]
        flat = TokenBatch.ragged(codes, self._dtype)
        spans = SpanTable.of([row.spans for row in rows])
        return TokenBatch(flat.values, flat.offsets, flat.shapes, flat.n_tokens, spans)

    def encode(self, window: Clip) -> TokenSequence:
        """One clip."""
        return self.tokenize(clip_batch(self.view, self.form, [window]))[0]

    def decode(self, tokens: TokenSequence) -> Clip:
        """The clip that these codes stand for; its sound has a context of zeros.

        Raises:
            TokenizeFailedError: these can't be its tokens, or a part has no inverse.
        """
        if not tokens.spans and tokens.values.size:
            raise TokenizeFailedError("interleaved codes can't be told apart without their spans")
        found = {modality: [s for s in tokens.spans if s.tokenizer == index] for modality, index in self._of.items()}
        pictures, sounds, texts = (found.get(kind, []) for kind in (Modality.IMAGE, Modality.AUDIO, Modality.TEXT))
        frames = [self._decoded(Modality.IMAGE, [span], tokens) for span in pictures]
        none = np.zeros((0, self.form.height, self.form.width, 3), np.uint8)
        step = int(CLOCK_HZ / self.form.frames_hz) if self.form.frames_hz else 0
        channels = self.form.sound.channels if self.form.sound else 1
        sound = np.zeros((0, channels), np.float32)
        if sounds and self.form.sound:
            heard = self._decoded(Modality.AUDIO, sounds, tokens)
            sound = np.concatenate([np.zeros((self.form.sound.context, channels), np.float32), heard])
        sampled = np.asarray([span.t1 - step for span in pictures], np.int64)
        return Clip(
            start=min([*sampled.tolist(), *(span.t0 for span in sounds), *(span.t0 for span in texts)], default=0),
            end=max([span.t1 for span in (*pictures, *sounds)], default=0),
            frames=np.stack(frames) if frames else none,
            shown=np.asarray([(span.t0, span.t1) for span in pictures], np.int64).reshape(-1, 2),
            sampled=sampled,
            sound=sound,
            cues=tuple(Cue(span.t0, span.t1, span.text or "", span.language) for span in texts),
        )

    def decode_sound(self, clips: Sequence[TokenSequence]) -> npt.NDArray[np.float32]:
        """The sound of consecutive clips as one `[N, C]`, without the seams that clips decoded one by one would have.

        Raises:
            TokenizeFailedError: as `decode`.
        """
        index, channels = self._of.get(Modality.AUDIO), self.form.sound.channels if self.form.sound else 1
        found = [(clip, span) for clip in clips for span in clip.spans if span.tokenizer == index]
        if index is None or not found:
            return np.zeros((0, channels), np.float32)
        codes = np.concatenate([clip.values[span.start : span.start + span.length] for clip, span in found])
        return self.parts[index].decode(TokenSequence(codes.reshape(-1, *self.spec.parts[index].shape[1:])))

    def _sound_part(self) -> AudioTokenizer | None:
        index = self._of.get(Modality.AUDIO)
        part = None if index is None else self.parts[index]
        assert part is None or isinstance(part, AudioTokenizer)
        return part

    def _form(self) -> ClipForm:
        height = width = 0
        if Modality.IMAGE in self._of:
            view = self.parts[self._of[Modality.IMAGE]].spec.view
            found = re.fullmatch(r"rgb8:(\d+)x(\d+):cover", view)
            if found is None:
                raise ConfigError(f"options.image: pictures of a film must fit by `cover`, not {view}")
            height, width = int(found[1]), int(found[2])
        sound = None
        if self.sound is not None:
            rate_hz = self.sound.rate_hz
            if self.clip_s * rate_hz % self.sound.hop:
                raise ConfigError(f"options.clip_s: {self.clip_s} s is no whole number of token frames")
            sound = PcmForm(rate_hz, self.sound.channels, self.clip_s * rate_hz, self.sound.context)
        frames_hz = self.frames_hz if height else Fraction(0)
        return ClipForm(self.clip_s, frames_hz, max(1, height), max(1, width), sound, Modality.TEXT in self._of)

    def _pictures(self, batch: WindowBatch) -> list[list[Codes]]:
        """By clip, each picture's codes."""
        if Modality.IMAGE not in self._of:
            return [[] for _ in range(len(batch))]
        part = self.parts[self._of[Modality.IMAGE]]
        tokens = part.tokenize(WindowBatch(part.spec.view, batch.data, np.ones(len(batch.data), np.int64)))
        ends = np.cumsum(batch.lengths).tolist()
        return [
            [tokens[index].values for index in range(start, end)]
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def _sounds(self, clips: Sequence[Clip]) -> list[Codes | None]:
        """By clip, `[T, K]`; None where it has no sound."""
        out: list[Codes | None] = [None] * len(clips)
        heard = [index for index, clip in enumerate(clips) if len(clip.sound)]
        if self.sound is not None and heard:
            samples = [clips[index].sound for index in heard]
            lengths = np.asarray([len(each) for each in samples], np.int64)
            tokens = self.sound.tokenize(WindowBatch(self.sound.view, np.concatenate(samples), lengths))
            for place, index in enumerate(heard):
                out[index] = tokens[place].values
        return out

    def _texts(self, clips: Sequence[Clip]) -> list[list[Codes]]:
        """By clip, each subtitle's codes."""
        if Modality.TEXT not in self._of:
            return [[] for _ in clips]
        part = self.parts[self._of[Modality.TEXT]]
        return [[part.encode(np.frombuffer(cue.text.encode(), np.uint8)).values for cue in clip.cues] for clip in clips]

    def _interleaved(self, clip: Clip, pictures: list[Codes], sound: Codes | None, texts: list[Codes]) -> _Row:
        row, heard = _Row(), 0
        events = [(int(at), 0, index) for index, at in enumerate(clip.sampled[: len(pictures)])]
        events += [(cue.t0, 1, index) for index, cue in enumerate(clip.cues[: len(texts)])]
        for at, kind, index in sorted(events):
            heard = self._sound_until(row, clip, sound, heard, at)
            if kind == 0:
                shown_at, until = clip.shown[index].tolist()
                row.add(self._of[Modality.IMAGE], pictures[index], shown_at, until)
            else:
                cue = clip.cues[index]
                row.add(self._of[Modality.TEXT], texts[index], cue.t0, cue.t1, cue)
        self._sound_until(row, clip, sound, heard, clip.end)
        return row

    def _sound_until(self, row: _Row, clip: Clip, sound: Codes | None, heard: int, at: int) -> int:
        """Add the token frames that begin before `at`; returns how many of the clip have been added in all."""
        if sound is None or self.sound is None:
            return heard
        frame = Fraction(self.sound.hop * CLOCK_HZ, self.sound.rate_hz)
        upto = len(sound) if at >= clip.end else min(len(sound), max(heard, -((clip.start - at) // frame)))
        if upto > heard:
            t0, t1 = (clip.start + int(count * frame) for count in (heard, upto))
            row.add(self._of[Modality.AUDIO], sound[heard:upto], t0, t1)
        return upto

    def _decoded(self, kind: Modality, spans: Sequence[TokenSpan], tokens: TokenSequence) -> npt.NDArray[Any]:
        index = self._of[kind]
        shape = self.spec.parts[index].shape
        codes = np.concatenate([tokens.values[span.start : span.start + span.length] for span in spans])
        return self.parts[index].decode(TokenSequence(codes.reshape(tuple(size or -1 for size in shape))))


def _part(modality: Modality, given: str | dict[str, Any]) -> tuple[str, Tokenizer]:
    """Name and tokenizer of a part.

    Raises:
        ConfigError: it can't be built, is of another modality, or gives no codes.
    """
    from operators.tokenize import registry  # which lists this module's tokenizer

    path = f"options.{modality.value}"
    entry: dict[str, Any] = {"tokenizer": given} if isinstance(given, str) else dict(given)
    name, options = entry.pop("tokenizer", None), entry.pop("options", {})
    if not isinstance(name, str) or not isinstance(options, dict) or entry:
        raise ConfigError(f"{path}: must be a tokenizer's name, or its `tokenizer` and `options`, not {given!r}")
    try:
        tokenizer = registry.build(name, options)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    spec = tokenizer.spec
    if spec.modality is not modality or spec.kind is not TokenKind.CODES:
        raise ConfigError(f"{path}: {name} gives {spec.kind.value} of {spec.modality.value}, not codes of {modality}")
    if modality is Modality.AUDIO and not isinstance(tokenizer, AudioTokenizer):
        raise ConfigError(f"{path}: {name} is no AudioTokenizer, so its token frames can't be placed in time")
    return name, tokenizer


def _described(name: str, part: Tokenizer) -> TokenPart:
    spec = part.spec
    sizes = spec.shape
    if not sizes:
        sizes = (0,) if len(spec.axes) == 1 else (0, len(spec.codebook_sizes))
    return TokenPart(name, spec.modality, spec.axes, spec.codebook_sizes, sizes)


def _rebuilt(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Options that build the same parts again, as far as their identities tell."""
    kinds = (Modality.IMAGE, Modality.AUDIO, Modality.TEXT)
    return {
        kind.value: {"tokenizer": parts[kind.value]["class"], "options": parts[kind.value]["options"]}
        if kind.value in parts
        else None
        for kind in kinds
    }
