"""Parses a request for live calls, and checks what its login may see.

Called by :mod:`api.stream.fast_accept` and by the app's routes, so both apply the same rules. A
request is werkzeug's plain one, which Quart's is too. Nothing here waits.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from werkzeug.sansio.request import Request

from api.auth.verifier import Verifier
from api.http.address import Networks, client_of
from api.http.headers import quality
from api.http.listed import names_in
from api.stream import sse
from livestate.state.access import Identity, Scope, scope_for

_READER: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Admission(NamedTuple):
    """An admitted stream: its login and scope, and the event id that it resumes from."""

    identity: Identity
    token: str
    scope: Scope
    position: sse.EventId | None
    client: str | None  # the address that it is counted on
    gzip: bool
    cors: tuple[tuple[str, str], ...] = ()  # headers
    reader: str | None = None  # the page that asks, by a random name of its own

    @property
    def headers(self) -> dict[str, str]:
        """Of the response."""
        headers = {"Content-Type": sse.MEDIA_TYPE, **dict(self.cors)}
        headers["Vary"] = "Accept-Encoding, Origin" if self.cors else "Accept-Encoding"
        if self.gzip:
            headers["Content-Encoding"] = "gzip"
        # nginx and others buffer a response before they pass it on, unless this forbids it.
        return headers | {"X-Accel-Buffering": "no"}


def admit(request: Request, peer: str, verifier: Verifier, trusted: Networks) -> Admission:
    """The stream that a request from ``peer`` asks for. Raises
    :class:`~api.auth.keys.Unauthenticated`, :class:`~livestate.state.access.Forbidden` or
    :class:`~livestate.state.access.UnknownFilter`."""
    token = verifier.token_of(request)
    identity = verifier.verify(token)
    return Admission(
        identity,
        token,
        wanted(request, identity),
        _last_event_id(request),
        client_of(peer, request.headers.getlist("X-Forwarded-For"), trusted),
        quality(request.headers.getlist("Accept-Encoding"), "gzip") > 0,
        tuple(verifier.site.cors(request).items()),
        reader_of(request),
    )


def wanted(request: Request, identity: Identity) -> Scope:
    """The calls that the identity may see, narrowed by the filters of the query."""
    return scope_for(
        identity,
        company_id=request.args.get("company_id"),
        states=names_in(request.args.getlist("state")),
        trunks=names_in(request.args.getlist("trunk")),
    )


def reader_of(request: Request) -> str | None:
    """The page or program that reads the stream, by the random name that it gave itself in the
    query (``reader``). It reads one stream at a time: a newer one replaces the older, which a proxy
    may keep open after the page has left it."""
    name = request.args.get("reader")
    return name if name is not None and _READER.fullmatch(name) else None


def accepts_stream(request: Request) -> bool:
    """Whether the ``Accept`` header, if there is one, allows an event stream."""
    # An empty list means the same as no header (RFC 9110 §12.5.1).
    accepted = [one for one in request.headers.getlist("Accept") if one.strip(" \t,")]
    return not accepted or quality(accepted, sse.MEDIA_TYPE) > 0


def _last_event_id(request: Request) -> sse.EventId | None:
    """The event id that the client resumes from. A new EventSource sends no header, so the page
    puts the id into the query. If both exist, the header is newer."""
    headers = request.headers.getlist("Last-Event-ID")
    if headers:
        return sse.read_id(headers[0]) if len(headers) == 1 else None
    return sse.read_id(request.args.get("last_event_id"))
