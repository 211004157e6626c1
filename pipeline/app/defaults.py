"""The lanes of a run that brings no config of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_LANES: Mapping[str, Any] = {
    "image": {
        "products": {
            "image-rq": {"tokenizer": "image-rq"},
            "image-patches": {"tokenizer": "image-patches-projected"},
        },
    },
    "audio": {"products": {"audio-mdct": {"tokenizer": "audio-mdct"}}},
    "video": {"products": {"video-interleaved": {"tokenizer": "video-interleaved"}}},
    "text": {
        "products": {
            "text-bpe": {"tokenizer": "text-bpe"},
            "text-bytes": {"tokenizer": "text-bytes"},
        },
    },
}


def lanes_on(topics: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The default lanes, reading these topics."""
    return {name: {**lane, "topics": list(topics.get(name, ()))} for name, lane in DEFAULT_LANES.items()}
