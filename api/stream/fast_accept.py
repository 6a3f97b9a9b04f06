"""Begins a stream without passing its request through the app.

Thousands of dashboards that reconnect at once are thousands of requests, and the task groups,
tasks, queues and contexts that Hypercorn and Quart make for each cost more than the stream. So a
:class:`~api.http.connection.Connection` asks here first. A request for the stream that
:mod:`api.stream.admission` admits becomes a stream in one step; its response head and first state
are written and no task is made. Any other request (another path, an incomplete head, an invalid
login, a stream too many) goes to the app unchanged: errors and refusals are written in one place
only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import h11
from werkzeug.datastructures import Headers
from werkzeug.sansio.request import Request

from api.auth.claims import Unauthenticated, Unavailable
from api.auth.verifier import Verifier
from api.http.address import Networks
from api.http.connection import Connection
from api.http.headers import listed
from api.http.request import whole_request
from api.http.security_headers import SECURITY_HEADERS
from api.stream.admission import accepts_stream, admit
from api.stream.registry import StreamRegistry
from livestate.client.paths import STREAM_PATH
from livestate.state.access import Forbidden, UnknownFilter

_PATH: Final = STREAM_PATH.encode()
_BEGINS: Final = b"GET %b" % _PATH
_REFUSALS: Final = (Unauthenticated, Unavailable, Forbidden, UnknownFilter)
_WITH_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})


class FastAccept:
    """The :class:`~api.http.connection.StreamAcceptor` of the public server."""

    def __init__(
        self, streams: StreamRegistry, verifier: Verifier, trusted_proxies: Networks
    ) -> None:
        prefix = verifier.site.prefix.encode()
        self._prefix = prefix
        self._begins = (_BEGINS, b"GET %b%b" % (prefix, _PATH))
        self._streams = streams
        self._verifier = verifier
        self._trusted = trusted_proxies

    def first_bytes(self, connection: Connection, data: bytes) -> bool:
        if not data.startswith(self._begins):
            return False
        request = whole_request(data, self._prefix)
        return request is not None and self.request(connection, request)

    def request(self, connection: Connection, request: h11.Request) -> bool:
        path, _, query = request.target.partition(b"?")
        if path != _PATH or request.method != b"GET" or request.http_version != b"1.1":
            return False
        if any(name in _WITH_BODY for name, _ in request.headers):
            return False
        headers = Headers([(n.decode("latin1"), v.decode("latin1")) for n, v in request.headers])
        wanted = Request("GET", "http", None, "", STREAM_PATH, query, headers, None)
        try:
            admission = admit(wanted, connection.peer, self._verifier, self._trusted)
        except _REFUSALS:
            return False
        if not accepts_stream(wanted):
            return False
        more = connection.response_headers
        if listed(headers.getlist("Connection"), "close"):  # RFC 9112 §9.6
            more = [*more, (b"Connection", b"close")]
        head = _head((*SECURITY_HEADERS.items(), *admission.headers.items()), more)
        return self._streams.open(admission, connection, head)


def _head(headers: Iterable[tuple[str, str]], more: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a response in chunks (RFC 9112 §7.1)."""
    lines = [b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in headers]
    lines += [b"%b: %b\r\n" % each for each in more]
    return b"HTTP/1.1 200 \r\n%bTransfer-Encoding: chunked\r\n\r\n" % b"".join(lines)
