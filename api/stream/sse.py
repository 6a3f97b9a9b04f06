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


class EventId(NamedTuple):
    """The ``id`` of an event, from which a client resumes: a view's tag and a version of it."""

    tag: str  # names the view and the run of the service; 16 hexadecimal digits
    version: int


def event(name: str, data: bytes, event_id: EventId | None = None) -> bytes:
    """One event. ``data`` must be a single line."""
    if event_id is None:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), write_id(event_id), data)


def retry(milliseconds: int) -> bytes:
    """How long an EventSource waits before it connects again: a line to put before an event.

    It is no block of its own: @microsoft/fetch-event-source gives a block without data to its user
    as an empty message (Azure/fetch-event-source#15), which no JSON parser takes."""
    return b"retry: %d\n" % milliseconds


def write_id(event_id: EventId) -> bytes:
    return f"{event_id.tag}-{event_id.version}".encode()


def read_id(text: str | None) -> EventId | None:
    """A Last-Event-ID, or None for anything that this service cannot have written.

    It comes from a client: wrong, foreign, huge or old ones mean a snapshot, never an error.
    """
    if text is None or len(text) > MAX_ID_BYTES:
        return None
    found = _ID.fullmatch(text)
    return EventId(found[1], int(found[2])) if found else None
