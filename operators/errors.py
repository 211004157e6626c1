"""Every error that mediatok raises on purpose. The class fixes the disposition: nobody decides it again later.

MediatokError
├── TransientError                   RETRY   back off with jitter, then try again
│   ├── StoreUnavailableError                store.unavailable
│   ├── ContentChangedError                  content.changed     since the item's first segment
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
    ├── FailureShareError                    failures.share      too many of a lane's items end as letters
    ├── OffsetGapError                       source.gap          the log lost what was never read
    ├── TopicRecreatedError                  source.recreated
    ├── StoreUnsafeError                     store.unsafe        ignores conditional puts
    ├── RayLostError                         ray.lost            the cluster, or this node of it, is gone
    ├── SpoolDiskFullError                   spool.disk_full     the disk has less room than the spool was promised
    └── ShardCorruptError                    shard.corrupt       a data file is not what was written
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar

from operators.records import Failure


class Disposition(StrEnum):
    """What happens to the work that raised an error."""

    RETRY = "retry"
    LETTER = "letter"
    STOP = "stop"


class MediatokError(Exception):
    """The root. `code` is stable and goes into letters, metrics and logs; `stage` says where; `advice` what to do."""

    disposition: ClassVar[Disposition] = Disposition.STOP
    code: ClassVar[str] = "invariant.broken"
    advice: ClassVar[str]

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
    advice = "nothing, unless it goes on: it is tried again"


class StoreUnavailableError(TransientError):
    """An object store or web server answered 5xx, 429, or not at all."""

    code = "store.unavailable"
    advice = "look at the store and the network; work goes on where it was when they are back"


class ContentChangedError(TransientError):
    """An object is no longer what an item's first segment was cut from; the item begins anew."""

    code = "content.changed"
    advice = "nothing, if it rests now: the item is read again from its start; else name its version in the message"


class SourceUnavailableError(TransientError):
    """The broker can't be reached or has no leader."""

    code = "source.unavailable"
    advice = "look at the broker and the network; reading goes on where it was when they are back"


class MemoryPressureError(TransientError):
    """The actor passed its own limit of resident memory and left."""

    code = "worker.memory"
    advice = "nothing, unless it goes on: then fewer workers a node, or smaller batches"


class SpoolFullError(TransientError):
    """The rows would take the packer's spool over its limit; sealing what is whole makes room."""

    code = "spool.full"
    advice = "nothing: sealing makes room; if it goes on, raise limits.spool_bytes"


class MediaError(MediatokError):
    """This item can't be tokenized, now or later."""

    disposition = Disposition.LETTER
    code = "media"
    advice = "mend or replace the object, then `mediatok dlq replay`"


class ReferenceMalformedError(MediaError):
    """The message is not what any dialect expects; names the field."""

    code = "reference.malformed"
    advice = "mend the producer: the message names the field; publish it again"


class ReferenceRefusedError(MediaError):
    """The scheme, bucket, host or address is not on the allow-list."""

    code = "reference.refused"
    advice = "allow the place under fetch (schemes, places, roots), then `mediatok dlq replay`"


class ReferenceUnclaimedError(MediaError):
    """No lane takes this modality."""

    code = "reference.unclaimed"
    advice = "add a lane that takes this modality, or publish it elsewhere"


class NotFoundError(MediaError):
    """There is no such object."""

    code = "fetch.not_found"
    advice = "put the object where the reference says, then `mediatok dlq replay`"


class DeniedError(MediaError):
    """The credentials may not read the object."""

    code = "fetch.denied"
    advice = "give the credentials under storage the right to read it, then `mediatok dlq replay`"


class SupersededError(MediaError):
    """The object was overwritten between message and fetch."""

    code = "fetch.superseded"
    advice = "publish a reference to the object as it is now"


class TooLargeError(MediaError):
    """The object is larger than the limit; it was not fetched."""

    code = "fetch.too_large"
    advice = "raise fetch.max_object_bytes or fetch.max_file_bytes, then `mediatok dlq replay`"


class FetchFailedError(MediaError):
    """Transient trouble outlasted its budget of tries."""

    code = "fetch.failed"
    advice = "when the place answers again: `mediatok dlq replay`"


class EmptyMediaError(MediaError):
    """Zero bytes, zero samples or zero frames."""

    code = "decode.empty"
    advice = "nothing is in it; replace the object, then `mediatok dlq replay`"


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
    advice = "replace the object, or set on_damage: keep; then `mediatok dlq replay`"


class MediaLimitError(MediaError):
    """More pixels, seconds or streams than allowed; nothing was allocated for it."""

    code = "decode.limit"
    advice = "raise the limit that it names under fetch, then `mediatok dlq replay`"


class DecodeFailedError(MediaError):
    """The decoder gave up for another reason."""

    code = "decode.failed"


class TokenizeFailedError(MediaError):
    """The tokenizer raised on this input."""

    code = "tokenize.failed"
    advice = "the stack in `mediatok dlq show` tells; mend the tokenizer, then `mediatok dlq replay`"


class WorkerKilledError(MediaError):
    """The item, alone in its batch, took three different workers down."""

    code = "worker.killed"
    advice = "try the object with `mediatok tokenize`; it crashes decoders or needs more memory than a worker has"


class StopError(MediatokError):
    """The run must not go on."""

    advice = "see the message"


class ConfigError(StopError):
    """The configuration is wrong; names the field's path and what would be valid."""

    code = "config.invalid"
    advice = "correct what the message names, then `mediatok check`"


class InvariantError(StopError):
    """Something that cannot be, is."""

    code = "invariant.broken"
    advice = "a mistake of mediatok, or files that somebody changed: `mediatok lake verify`, and report it"


class ProductSupersededError(StopError):
    """Another process has opened a higher revision of this product."""

    code = "product.superseded"
    advice = "deploy the newer config here too; to go back, give the old one a higher revision"


class FailureShareError(StopError):
    """Too many of a lane's items end as letters; none that is still held is committed: another run does them again."""

    code = "failures.share"
    advice = "mend what the examples show and run again; or raise failures.most_share of the lane"


class OffsetGapError(StopError):
    """The log no longer has offsets that were never read; `mediatok skip` accepts the loss."""

    code = "source.gap"
    advice = "`mediatok skip` accepts the loss; the message has its arguments"


class TopicRecreatedError(StopError):
    """The topic under this name is another one than before."""

    code = "source.recreated"
    advice = "run again to read the new topic as a new source; without topic ids raise source_epoch first"


class StoreUnsafeError(StopError):
    """The store ignores conditional puts, so exactly-once can't be promised on it."""

    code = "store.unsafe"
    advice = "use a store that honours conditional puts, or set commit.single_writer_lock"


class RayLostError(StopError):
    """The Ray cluster is gone, or the node of it that this process is on."""

    code = "ray.lost"
    advice = "look at the cluster (`ray status`, its logs) and start again: what is committed stays, the rest is redone"


class SpoolDiskFullError(StopError):
    """The disk has less room than the configuration promised to the spool; waiting would not free any."""

    code = "spool.disk_full"
    advice = "free the disk below `state`, or lower limits.spool_bytes; then run again"


class ShardCorruptError(StopError):
    """The bytes of a data file or its sidecar are not those that were written."""

    code = "shard.corrupt"
    advice = "`mediatok lake verify` names every such file; restore it from a copy, or make its product anew"


def advice_for(code: str) -> str | None:
    """What to do about an error of this code; None for one that is not in the tree."""
    return next((error.advice for error in _tree(MediatokError) if error.code == code), None)


def _tree(root: type[MediatokError]) -> Iterator[type[MediatokError]]:
    for error in root.__subclasses__():
        yield error
        yield from _tree(error)
