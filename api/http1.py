"""HTTP/1.1 and nothing else on our sockets: what Hypercorn does beyond that is shut off.

Hypercorn turns into HTTP/2 or a WebSocket where a client asks for it (``Upgrade``, or the preface
of HTTP/2). A proxy passes an upgrade on and is then out of the game: who asked for it would speak
to us past the proxy's paths, with an ``X-Forwarded-For`` of his own. So an upgrade is ignored, as a
server may (RFC 9110 §7.8).

And where a request comes before the one before it was answered, Hypercorn stops reading: of a
stream, which never ends, it would not see the client leave. So what is said to a stream is not
kept; when it is over its connection is too, and who asked early asks again (RFC 9112 §9.3.2).

It rests on ``hypercorn.protocol.H11Protocol`` of the pinned version (``tests/test_direct.py``).
"""

from __future__ import annotations

import re
from typing import Any, Final

import h11
import hypercorn.protocol
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol

from api.problem import details

# RFC 9110 §7.2, as far as it names a machine; what is none makes a URL parser raise.
_HOST: Final = re.compile(
    rb"([A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63}){0,126}\.?|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?"
)
# No id is an error, and these are: NUL and its like in a header, which may be refused or read as
# spaces (RFC 9110 §5.5).
_ID_LINE: Final = re.compile(rb"\nlast-event-id:[^\r\n]*", re.IGNORECASE)
_SPACES: Final = bytes.maketrans(b"\0\v\f", b"   ")
_TOLD: Final = {
    400: "This is not a request that HTTP/1.1 knows.",
    431: "The headers are too large.",
    505: "This is HTTP/1.1.",
}


class PlainRequests(h11.Connection):
    """h11's parser, of requests for paths. ``endless``: what is answered now may never end, so its
    caller is not asked to stop reading."""

    bodiless = False  # the answer to the last request
    endless = False

    def receive_data(self, data: bytes) -> None:
        if self.their_state is h11.IDLE:
            data = _ID_LINE.sub(lambda line: line[0].translate(_SPACES), data)
        super().receive_data(data)

    def next_event(self) -> Any:
        event = super().next_event()
        if event is h11.PAUSED and self.endless:
            return h11.NEED_DATA
        if not isinstance(event, h11.Request):
            return event
        self.bodiless = event.method == b"HEAD"
        if event.http_version not in (b"1.1", b"1.0"):
            raise h11.RemoteProtocolError("another version", error_status_hint=505)
        if not event.target.startswith(b"/"):  # "*", a proxy's form, or what no URL parser likes
            raise h11.RemoteProtocolError("not a path", error_status_hint=400)
        if not all(_HOST.fullmatch(value) for name, value in event.headers if name == b"host"):
            raise h11.RemoteProtocolError("not a host", error_status_hint=400)
        kept = [(name, value) for name, value in event.headers if name != b"upgrade"]
        if len(kept) == len(event.headers):
            return event
        return h11.Request(method=event.method, target=event.target, headers=kept,
                           http_version=event.http_version)  # fmt: skip


class Http1(H11Protocol):
    """One connection: one request at a time."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        most = self.config.h11_max_incomplete_size
        self.requests = PlainRequests(h11.SERVER, max_incomplete_event_size=most)
        self.connection = self.requests
        self._hasty = False

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData) and self.requests.endless:
            self._hasty = self._hasty or bool(event.data)
        else:
            await super().handle(event)

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response):
            bounded = any(name == b"content-length" for name, _ in event.headers)
            if event.status_code == 200 and not bounded:
                self.requests.endless = True
                await self.can_read.set()
        await super().stream_send(event)

    async def _maybe_recycle(self) -> None:
        endless, self.requests.endless = self.requests.endless, False
        if self._hasty or (endless and self.requests.trailing_data[0]):
            await self._close_stream()
            await self.send(Closed())
        else:
            await super()._maybe_recycle()

    async def _send_error_response(self, status_code: int) -> None:
        body = details(status_code, _TOLD.get(status_code, _TOLD[400]))
        headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"),
                   (b"content-length", b"%d" % len(body)), (b"connection", b"close"),
                   *self.config.response_headers("h11")]  # fmt: skip
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        if not self.requests.bodiless:
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def install() -> None:
    """Let Hypercorn speak it on every connection."""
    hypercorn.protocol.H11Protocol = Http1  # type: ignore[attr-defined]
