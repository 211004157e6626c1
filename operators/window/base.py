"""What a view is: a named way to cut windows of one shape out of decoded media."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from operators.records import Modality, WindowBatch, WindowMeta

Array = npt.NDArray[Any]

D_contra = TypeVar("D_contra", contravariant=True)


class View(Protocol[D_contra]):
    """Cuts windows. Its key is all there is to it: equal keys, equal windows."""

    @property
    def key(self) -> str:
        """E.g. "rgb8:256x256:cover"."""
        ...

    @property
    def modality(self) -> Modality:
        """What it cuts."""
        ...

    def windows(self, decoded: D_contra) -> Sequence[tuple[WindowMeta, Any]]:
        """The windows of one decoded segment, ascending by start; none where it holds nothing to tokenize.

        Each is an array, or a `Clip` of a film.
        """
        ...

    def stack(self, arrays: Sequence[Any]) -> WindowBatch:
        """Windows of many references, in order, as one batch."""
        ...
