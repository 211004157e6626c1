"""Every error that mediatok raises on purpose. The class fixes the disposition: nobody decides it again later.

MediatokError
├── TransientError                   RETRY   back off with jitter, then try again
│   ├── StoreUnavailableError                store.unavailable
│   ├── SourceUnavailableError               source.unavailable
│   ├── MemoryPressureError                  worker.memory       the actor left before the system killed it
│   └── SpoolFullError                       spool.full          the packer's spool has no room left; sealing makes some
├── MediaError                       LETTER  this item becomes a dead letter, its neighbours go on
│   ├── ReferenceMalformedError              reference.malformed
│   ├── ReferenceRefusedError                reference.refused   scheme, bucket or address not allowed
│   ├── ReferenceUnclaimedError              reference.unclaimed no lane takes this modality
│   ├── NotFoundError                        fetch.not_found
│   ├── DeniedError                          fetch.denied
│   ├── SupersededError                      fetch.superseded    overwritten since the message
│   ├── TooLargeError                        fetch.too_large
│   ├── FetchFailedError                     fetch.failed        transient for longer than the budget
│   ├── EmptyMediaError                      decode.empty
│   ├── NotAnImageError                      decode.not_an_image
│   ├── NotTextError                         decode.not_text
│   ├── NotMediaError                        decode.not_media    no container of sound or film
│   ├── NoStreamError                        decode.no_stream    a container without what the lane takes
│   ├── TruncatedError                       decode.truncated
│   ├── MediaLimitError                      decode.limit        pixels, duration, streams
│   ├── DecodeFailedError                    decode.failed
│   ├── TokenizeFailedError                  tokenize.failed
│   └── WorkerKilledError                    worker.killed       took three workers down with it
└── StopError                        STOP    the run ends with a clear message
    ├── ConfigError                          config.invalid
    ├── InvariantError                       invariant.broken
    ├── ProductSupersededError               product.superseded  a higher revision runs elsewhere
    ├── OffsetGapError                       source.gap          the log lost what was never read
    ├── TopicRecreatedError                  source.recreated
    ├── StoreUnsafeError                     store.unsafe        ignores conditional puts
    ├── SpoolDiskFullError                   spool.disk_full     the disk has less room than the spool was promised
    └── ShardCorruptError                    shard.corrupt       a data file is not what was written
"""

from __future__ import annotations

import traceback
from enum import StrEnum
from typing import ClassVar

from operators.records import Failure


class Disposition(StrEnum):
    """What happens to the work that raised an error."""

    RETRY = "retry"
    LETTER = "letter"
    STOP = "stop"


class MediatokError(Exception):
    """The root. `code` is stable and goes into letters, metrics and logs; `stage` says where."""

    disposition: ClassVar[Disposition] = Disposition.STOP
    code: ClassVar[str] = "invariant.broken"

    @property
    def stage(self) -> str:
        """The first part of the code: reference, fetch, decode, tokenize, worker, ..."""
        return self.code.partition(".")[0]

    def failure(self) -> Failure:
        """This error as a record that can travel between actors."""
        stack = "".join(traceback.format_exception(self)) if self.__traceback__ else ""
        return Failure(code=self.code, stage=self.stage, message=str(self), stack=stack)


class TransientError(MediatokError):
    """May well succeed later."""

    disposition = Disposition.RETRY
    code = "transient"


class StoreUnavailableError(TransientError):
    """An object store or web server answered 5xx, 429, or not at all."""

    code = "store.unavailable"


class SourceUnavailableError(TransientError):
    """The broker can't be reached or has no leader."""

    code = "source.unavailable"


class MemoryPressureError(TransientError):
    """The actor passed its own limit of resident memory and left."""

    code = "worker.memory"


class SpoolFullError(TransientError):
    """The rows would take the packer's spool over its limit; sealing what is whole makes room."""

    code = "spool.full"


class MediaError(MediatokError):
    """This item can't be tokenized, now or later."""

    disposition = Disposition.LETTER
    code = "media"


class ReferenceMalformedError(MediaError):
    """The message is not what any dialect expects; names the field."""

    code = "reference.malformed"


class ReferenceRefusedError(MediaError):
    """The scheme, bucket, host or address is not on the allow-list."""

    code = "reference.refused"


class ReferenceUnclaimedError(MediaError):
    """No lane takes this modality."""

    code = "reference.unclaimed"


class NotFoundError(MediaError):
    """There is no such object."""

    code = "fetch.not_found"


class DeniedError(MediaError):
    """The credentials may not read the object."""

    code = "fetch.denied"


class SupersededError(MediaError):
    """The object was overwritten between message and fetch."""

    code = "fetch.superseded"


class TooLargeError(MediaError):
    """The object is larger than the limit; it was not fetched."""

    code = "fetch.too_large"


class FetchFailedError(MediaError):
    """Transient trouble outlasted its budget of tries."""

    code = "fetch.failed"


class EmptyMediaError(MediaError):
    """Zero bytes, zero samples or zero frames."""

    code = "decode.empty"


class NotAnImageError(MediaError):
    """The bytes are no image that can be read."""

    code = "decode.not_an_image"


class NotTextError(MediaError):
    """The bytes are no text."""

    code = "decode.not_text"


class NotMediaError(MediaError):
    """The bytes are no container of sound or film that is read."""

    code = "decode.not_media"


class NoStreamError(MediaError):
    """The container has no stream of what the lane takes: no sound, or no film."""

    code = "decode.no_stream"


class TruncatedError(MediaError):
    """The file ends before its content does (`on_damage: keep` makes rows marked partial instead)."""

    code = "decode.truncated"


class MediaLimitError(MediaError):
    """More pixels, seconds or streams than allowed; nothing was allocated for it."""

    code = "decode.limit"


class DecodeFailedError(MediaError):
    """The decoder gave up for another reason."""

    code = "decode.failed"


class TokenizeFailedError(MediaError):
    """The tokenizer raised on this input."""

    code = "tokenize.failed"


class WorkerKilledError(MediaError):
    """The item, alone in its batch, took three different workers down."""

    code = "worker.killed"


class StopError(MediatokError):
    """The run must not go on."""


class ConfigError(StopError):
    """The configuration is wrong; names the field's path and what would be valid."""

    code = "config.invalid"


class InvariantError(StopError):
    """Something that cannot be, is."""

    code = "invariant.broken"


class ProductSupersededError(StopError):
    """Another process has opened a higher revision of this product."""

    code = "product.superseded"


class OffsetGapError(StopError):
    """The log no longer has offsets that were never read; `mediatok skip` accepts the loss."""

    code = "source.gap"


class TopicRecreatedError(StopError):
    """The topic under this name is another one than before."""

    code = "source.recreated"


class StoreUnsafeError(StopError):
    """The store ignores conditional puts, so exactly-once can't be promised on it."""

    code = "store.unsafe"


class SpoolDiskFullError(StopError):
    """The disk has less room than the configuration promised to the spool; waiting would not free any."""

    code = "spool.disk_full"


class ShardCorruptError(StopError):
    """The bytes of a data file or its sidecar are not those that were written."""

    code = "shard.corrupt"
