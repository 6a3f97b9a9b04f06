"""What a request for calls asks, and whether it may: the same rules whichever way it came in.

A request is werkzeug's plain one, which Quart's is too; nothing here waits.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from werkzeug.sansio.request import Request

from api import sse
from api.address import Networks, client_of
from api.auth import Verifier, token_of
from livestate.access import Identity, Scope, scope_for

STREAM_PATH: Final = "/api/v1/live/calls"


class Admission(NamedTuple):
    """A stream that somebody may have: his login, what he wants to see, and where he is."""

    identity: Identity
    token: str
    scope: Scope
    position: sse.Position | None
    client: str | None  # the address that it is counted on
    gzip: bool

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        told = {"Content-Type": sse.MEDIA_TYPE, "Vary": "Accept-Encoding"}
        if self.gzip:
            told["Content-Encoding"] = "gzip"
        # nginx and its like must not collect a stream before they pass it on.
        return told | {"X-Accel-Buffering": "no"}


def admit(request: Request, peer: str, verifier: Verifier, trusted: Networks) -> Admission:
    """The stream that a request from ``peer`` asks for. Raises
    :class:`~api.keys.Unauthenticated`, :class:`~livestate.access.Forbidden` or
    :class:`~livestate.access.UnknownFilter`."""
    token = token_of(request)
    identity = verifier.verify(token)
    return Admission(
        identity, token, wanted(request, identity), _last_event_id(request),
        client_of(peer, request.headers.getlist("X-Forwarded-For"), trusted),
        "Accept-Encoding" in request.headers and request.accept_encodings.quality("gzip") > 0,
    )  # fmt: skip


def wanted(request: Request, identity: Identity) -> Scope:
    """The identity's calls, narrowed by the filters of the query."""
    return scope_for(
        identity,
        company_id=request.args.get("company_id"),
        states=_listed(request, "state"),
        trunks=_listed(request, "trunk"),
    )


def accepts_stream(request: Request) -> bool:
    return "Accept" not in request.headers or request.accept_mimetypes.quality(sse.MEDIA_TYPE) > 0


def _listed(request: Request, name: str) -> list[str]:
    """A filter's values: repeated, or separated by commas."""
    return [part for value in request.args.getlist(name) for part in value.split(",") if part]


def _last_event_id(request: Request) -> sse.Position | None:
    """Where the client is. A new EventSource sends no header, so the page puts it into the query
    when it revives one; the header, being newer, wins."""
    headers = request.headers.getlist("Last-Event-ID")
    if headers:
        return sse.read_id(headers[0]) if len(headers) == 1 else None
    return sse.read_id(request.args.get("last_event_id"))
