"""Server-Sent Events as bytes: events and ids. No waiting here.

The format is WHATWG HTML §9.2. Data is always one line of JSON, in which CR and LF cannot occur
unescaped, so nothing that a caller chose can start a field or an event.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MEDIA_TYPE: Final = "text/event-stream"
MAX_ID_BYTES: Final = 128
_ID: Final = re.compile(r"([0-9a-f]{16})-(0|[1-9][0-9]{0,15})")


class Position(NamedTuple):
    """Where in which numbering a client is; what a stream's ``id`` says."""

    tag: str
    version: int


def event(name: str, data: bytes, position: Position | None = None) -> bytes:
    """One event. ``data`` must be a single line."""
    if position is None:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), write_id(position), data)


def retry(milliseconds: int) -> bytes:
    """How long an EventSource waits before it connects again."""
    return b"retry: %d\n\n" % milliseconds


def write_id(position: Position) -> bytes:
    return f"{position.tag}-{position.version}".encode()


def read_id(text: str | None) -> Position | None:
    """A Last-Event-ID, or None for anything that this service cannot have written.

    It comes from a client: wrong, foreign, huge or old ones mean a snapshot, never an error.
    """
    if text is None or len(text) > MAX_ID_BYTES:
        return None
    found = _ID.fullmatch(text)
    return Position(found[1], int(found[2])) if found else None
