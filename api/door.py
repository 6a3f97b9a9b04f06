"""The short way in: who asks for the stream and is welcome is let in from his first bytes.

Thousands of dashboards that come back at once are thousands of requests, and the task groups,
tasks, queues and contexts that Hypercorn and Quart make for each cost more than the stream. So the
first bytes of a connection are looked at before: if they are a whole request for the stream that
the rules of :mod:`api.admission` admit, its state is written and the connection is taken, all in
one step. Whatever else they are (another path, half a head, a login that is not good, a stream too
many), they go to Hypercorn as they came, and the app answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import h11
from werkzeug.datastructures import Headers
from werkzeug.sansio.request import Request

from api.address import Networks
from api.admission import STREAM_PATH, accepts_stream, admit
from api.app import SECURED
from api.auth import Verifier
from api.direct import Connection, Outlet
from api.http1 import PlainRequests
from api.keys import Unauthenticated
from api.stream import Streams
from livestate.access import Forbidden, UnknownFilter
from livestate.runtime.frame import Follower

_PATH: Final = STREAM_PATH.encode()
_BEGINS: Final = b"GET %b" % _PATH
_NOT_NOW: Final = (Unauthenticated, Forbidden, UnknownFilter)


class Door:
    """Looks at what a connection says first."""

    def __init__(self, streams: Streams, verifier: Verifier, trusted_proxies: Networks) -> None:
        self._streams = streams
        self._verifier = verifier
        self._trusted = trusted_proxies

    def __call__(self, connection: Connection, said: bytes) -> bool:
        """Whether the connection is a stream now."""
        if not said.startswith(_BEGINS):
            return False
        parser = PlainRequests(
            h11.SERVER, max_incomplete_event_size=connection.config.h11_max_incomplete_size
        )
        asked = _whole_request(parser, said)
        if asked is None:
            return False
        path, _, query = asked.target.partition(b"?")
        if path != _PATH:
            return False
        headers = Headers([(n.decode("latin1"), v.decode("latin1")) for n, v in asked.headers])
        request = Request("GET", "http", None, "", STREAM_PATH, query, headers, None)
        peer, *_ = connection.writer.get_extra_info("peername") or ("",)
        try:
            admission = admit(request, peer, self._verifier, self._trusted)
        except _NOT_NOW:
            return False
        if not accepts_stream(request):
            return False
        outlet = Outlet(connection, Follower() if admission.gzip else None)
        more = connection.config.response_headers("h11")
        if parser.their_state is h11.MUST_CLOSE:  # as he asked, and RFC 9112 §9.6 answers him so
            more.append((b"Connection", b"close"))
        head = _head((*SECURED.items(), *admission.headers.items()), more)
        return self._streams.open(admission, outlet, head)


def _whole_request(parser: PlainRequests, said: bytes) -> h11.Request | None:
    """The request that ``said`` is, if it is one and nothing else: no body, nothing behind it."""
    try:
        parser.receive_data(said)
        request, end = parser.next_event(), parser.next_event()
    except h11.RemoteProtocolError:
        return None
    alone = isinstance(end, h11.EndOfMessage) and parser.trailing_data == (b"", False)
    if not isinstance(request, h11.Request) or not alone or request.http_version != b"1.1":
        return None
    return request


def _head(headers: Iterable[tuple[str, str]], more: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a response in chunks (RFC 9112 §7.1)."""
    lines = [b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in headers]
    lines += [b"%b: %b\r\n" % each for each in more]
    return b"HTTP/1.1 200 \r\n%bTransfer-Encoding: chunked\r\n\r\n" % b"".join(lines)
