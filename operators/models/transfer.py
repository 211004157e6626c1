"""A call's windows to the device, its results back, while the device computes.

On a GPU a call is cut into parts. While one is computed, the next is copied from pinned memory on a stream of its own,
and the results of the one before travel back on a third: the copies cost no time of their own as long as computing a
part takes longer than copying one. At most `AHEAD` parts wait or are computed, so that a large call takes no more of
the device than a small one. On a CPU nothing is copied: the parts are computed one after another where they lie.

What a tokenizer computes must not depend on how a call is cut; tests hold it to that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
Event = Any
"""torch has two classes of it."""
Result = Tensor | Array
"""On the device, or brought back already by a tokenizer that does so itself."""

PART_BYTES = 4 << 20
"""Of a part on a GPU: 0.2 ms by PCIe 4, enough windows to fill the device (21 pictures of 256×256)."""
AHEAD = 2


class Link(Protocol):
    """A way to a device and back. Calls come in the order of the parts."""

    def send(self, part: Array) -> Any:  # noqa: ANN401  the link's own
        """Start a part on its way; waits while `AHEAD` parts are there whose computing is not over."""
        ...

    def arrived(self, sent: Any) -> Tensor:  # noqa: ANN401
        """The part on the device; what is computed next waits for it, this thread does not."""
        ...

    def fetch(self, result: Result) -> Any:  # noqa: ANN401
        """The part has been handed to the device to compute: start its result on its way back."""
        ...

    def landed(self, fetched: Any) -> Array:  # noqa: ANN401
        """The result, here."""
        ...


def through(
    compute: Callable[[Tensor, int], Result], parts: Iterable[Array], device: str, link: Link | None = None
) -> list[Array]:
    """Compute each part, in order: `compute(part, number)`, the part on the device, its result here afterwards.

    Args:
        device: "cpu" or "cuda:0".
        link: to it; by default what suits it.
    """
    link = link or (CudaLink(device) if device.startswith("cuda") else HostLink(device))
    coming, fetched = deque[Any](), list[Any]()
    for part in parts:
        coming.append(link.send(part))
        if len(coming) == AHEAD:
            fetched.append(link.fetch(compute(link.arrived(coming.popleft()), len(fetched))))
    while coming:
        fetched.append(link.fetch(compute(link.arrived(coming.popleft()), len(fetched))))
    return [link.landed(each) for each in fetched]


def cuts(sizes_bytes: Sequence[int], most_bytes: int | None) -> list[tuple[int, int]]:
    """Consecutive windows as parts [start, stop): each as long as it is no larger than `most_bytes`, or one window.

    Args:
        sizes_bytes: of the windows.
        most_bytes: None: all in one part.
    """
    found, start, held_bytes = list[tuple[int, int]](), 0, 0
    for number, size_bytes in enumerate(sizes_bytes):
        if most_bytes is not None and number > start and held_bytes + size_bytes > most_bytes:
            found.append((start, number))
            start, held_bytes = number, 0
        held_bytes += size_bytes
    return [*found, (start, len(sizes_bytes))] if len(sizes_bytes) else []


def part_bytes(device: str) -> int | None:
    """How large a part is on this device; None: a call is one part."""
    return PART_BYTES if device.startswith("cuda") else None


class HostLink:
    """To a CPU, where everything is already; to another kind of device, by plain copies."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def send(self, part: Array) -> Tensor:
        """See `Link`."""
        # Windows may lie in shared memory, where they can't be written to; torch warns of that.
        return torch.from_numpy(part if part.flags.writeable else part.copy()).to(self._device)

    def arrived(self, sent: Tensor) -> Tensor:
        """See `Link`."""
        return sent

    def fetch(self, result: Result) -> Result:
        """See `Link`."""
        return result

    def landed(self, fetched: Result) -> Array:
        """See `Link`."""
        return fetched.cpu().numpy() if isinstance(fetched, Tensor) else fetched


class CudaLink:
    """To a GPU: two streams beside the one that computes.

    The allocators do the bookkeeping: a tensor's memory goes back to the device's pool only when the streams named by
    `record_stream` are past it, and torch keeps pinned memory until the copy from or to it is over.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._compute = torch.cuda.current_stream(self._device)
        self._there = torch.cuda.Stream(self._device)
        self._back = torch.cuda.Stream(self._device)
        self._computing = deque[Event]()

    def send(self, part: Array) -> tuple[Tensor, Event]:
        """See `Link`."""
        if len(self._computing) == AHEAD:
            self._computing.popleft().synchronize()
        staged = _pinned(part.shape, torch.from_numpy(np.empty(0, part.dtype)).dtype)
        np.copyto(staged.numpy(), part)
        with torch.cuda.stream(self._there):
            sent = staged.to(self._device, non_blocking=True)
        return sent, self._there.record_event()

    def arrived(self, sent: tuple[Tensor, Event]) -> Tensor:
        """See `Link`."""
        tensor, copied = sent
        self._compute.wait_event(copied)
        tensor.record_stream(self._compute)
        return tensor

    def fetch(self, result: Result) -> tuple[Result, Event | None]:
        """See `Link`."""
        computed = self._compute.record_event()
        self._computing.append(computed)
        if not isinstance(result, Tensor) or not result.is_cuda:
            return result, None
        self._back.wait_event(computed)
        with torch.cuda.stream(self._back):
            landing = _pinned(result.shape, result.dtype)
            landing.copy_(result, non_blocking=True)
        result.record_stream(self._back)
        return landing, self._back.record_event()

    def landed(self, fetched: tuple[Result, Event | None]) -> Array:
        """See `Link`."""
        result, copied = fetched
        if copied is not None:
            copied.synchronize()
        return result.cpu().numpy() if isinstance(result, Tensor) else result


def _pinned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)
