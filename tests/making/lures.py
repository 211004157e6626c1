"""Texts that FFmpeg takes for media and that name other files: a careless reader opens them, or reaches the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def hls(target: str) -> str:
    """An HLS playlist (RFC 8216) of one segment."""
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{target}\n#EXT-X-ENDLIST\n"


def hls_key(target: str) -> str:
    """An HLS playlist whose segment is harmless, but whose key is the target."""
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{target}"'
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n{key}\n#EXTINF:10.0,\ndata:audio/mpeg,none\n#EXT-X-ENDLIST\n"


def ffconcat(target: str) -> str:
    """A script of FFmpeg's concat demuxer."""
    return f"ffconcat version 1.0\nfile '{target}'\n"


def dash(target: str) -> str:
    """A DASH manifest (ISO/IEC 23009-1) of one representation."""
    return (
        '<?xml version="1.0"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT10S" '
        'minBufferTime="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet mimeType="audio/mp4"><Representation id="0" bandwidth="64000" codecs="mp4a.40.2">'
        f"<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>\n"
    )


def sdp(target: str) -> str:
    """A session description (RFC 8866) that makes its reader listen; the target's host is whom it listens to."""
    host = target.partition("://")[2].partition("/")[0].partition(":")[0] or "127.0.0.1"
    return f"v=0\no=- 0 0 IN IP4 {host}\ns=x\nc=IN IP4 {host}\nt=0 0\nm=audio 5004 RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"


KINDS: dict[str, Callable[[str], str]] = {
    "hls": hls,
    "hls_key": hls_key,
    "ffconcat": ffconcat,
    "dash": dash,
    "sdp": sdp,
}
"""All of them, by name."""


def write_lure(path: Path, kind: str, target: Path | str) -> Path:
    """A lure under any name, e.g. "song.mp3"; returns `path`.

    Args:
        kind: one of `KINDS`.
        target: what it points at: a file's path, or a URL.
    """
    path.write_text(KINDS[kind](str(target)))
    return path
