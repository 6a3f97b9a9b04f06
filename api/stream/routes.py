"""The routes below ``/api/v1/live/calls``: the stream, the snapshot, one call."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from quart import Blueprint, Response, request

from api.auth.verifier import Verifier, foreign
from api.http.address import Networks
from api.http.problem import problem
from api.stream import sse, trace_link
from api.stream.admission import accepts_stream, admit, reader_of, wanted
from api.stream.one_call import Calls, with_timeline
from api.stream.registry import StreamRegistry
from api.stream.slow_clients import slow_clients
from api.stream.snapshots import LARGE, Snapshots
from livestate.client.paths import CLIENTS_PATH, SNAPSHOT_PATH, STREAM_PATH
from livestate.contract.events import MAX_CALL_ID_CHARS
from livestate.state.access import Forbidden, scope_for
from livestate.state.call import Call

_TIME: Final = re.compile(r"[0-9]{1,15}", re.ASCII)  # ms since the epoch
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class LiveCalls:
    """What the routes serve."""

    calls: Calls
    streams: StreamRegistry
    verifier: Verifier
    snapshots: Snapshots
    clock: Callable[[], int]  # ms since the Unix epoch
    trusted_proxies: Networks = ()
    trace_url: str | None = None  # see api.stream.trace_link
    cdr_url: str | None = None  # likewise
    ended_seconds: float = 0  # how long an ended call is kept
    numbers: Callable[[Call], Awaitable[dict[str, Any]]] | None = (
        None  # of the parties, written out
    )


def live_call_routes(live: LiveCalls) -> Blueprint:
    routes = Blueprint("live_calls", __name__)

    @routes.get(STREAM_PATH)
    async def stream() -> Response:
        peer, _ = request.scope["client"] or ("", 0)
        admission = admit(request, peer, live.verifier, live.trusted_proxies)
        if not accepts_stream(request):
            return problem(406, f"This is {sse.MEDIA_TYPE}; JSON is at {SNAPSHOT_PATH}.")
        if request.method == "HEAD":
            response = Response(b"", headers=admission.headers)
            del response.headers["Content-Length"]  # a stream has none (RFC 9110 §9.3.2)
            return response
        response = Response(live.streams.frames(admission), headers=admission.headers)
        response.timeout = None  # by default, Quart ends a response silently after 60 s
        return response

    @routes.delete(STREAM_PATH)
    async def leave() -> Response:
        """A page that is closed or loaded anew says so: a proxy may not hang up its stream."""
        identity = live.verifier.verify(live.verifier.token_of(request))
        if foreign(request):
            return problem(403, "A page of another site may not end streams here.")
        reader = reader_of(request)
        if reader is None:
            return problem(400, "Name the reader whose stream is to end.")
        live.streams.leave(identity.subject, reader)
        return Response(status=204, headers={"Cache-Control": "no-store"})

    @routes.get(SNAPSHOT_PATH)
    async def snapshot() -> Response:
        identity = live.verifier.verify(live.verifier.token_of(request))
        scope = wanted(request, identity)
        if await live.streams.still_starting():
            return _starting()
        if live.calls.live >= LARGE and live.streams.filters.refuses(
            identity.subject, scope, time.monotonic()
        ):
            return problem(429, "Too many different filters.", {"Retry-After": "5"})
        return await live.snapshots.response(identity.subject, scope)

    @routes.get(f"{STREAM_PATH}/<key>")
    async def one_call(key: str) -> Response:
        identity = live.verifier.verify(live.verifier.token_of(request))
        if await live.streams.still_starting():
            return _starting()
        call = await live.calls.find(key, scope_for(identity))
        if call is None:
            members: dict[str, Any] = {"kept_seconds": live.ended_seconds}
            if identity.sees_all:
                members |= _links_of_query(live)
            return problem(404, "No such call, or not one of yours.", members=members)
        response = with_timeline(call)
        response |= await _numbers(live, call)
        if identity.sees_all:
            response |= _links(live, call)
        return Response(orjson.dumps(response), content_type="application/json")

    _add_clients(routes, live)
    return routes


def _add_clients(routes: Blueprint, live: LiveCalls) -> None:
    @routes.get(CLIENTS_PATH)
    async def clients() -> Response:
        identity = live.verifier.verify(live.verifier.token_of(request))
        if identity.role != "admin":
            raise Forbidden("only administrators may see who is connected")
        body = {"as_of": live.clock(), "clients": slow_clients(live.streams)}
        return Response(
            orjson.dumps(body),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )


async def _numbers(live: LiveCalls, call: Call) -> dict[str, Any]:
    """The parties' numbers as they are written internationally."""
    found = await live.numbers(call) if live.numbers is not None else {}
    return {"numbers": found} if found else {}


def _links(live: LiveCalls, call: Call) -> dict[str, str]:
    """Addresses in other tools, from the operator's templates."""
    return _filled(live, lambda template: trace_link.link(template, call, live.clock()))


def _links_of_query(live: LiveCalls) -> dict[str, str]:
    """The same for a call that is no longer known: a link to it may say its Call-ID and since when
    it was up (``since``, ms). Such a call ended at some time of the day after."""
    call_id, since = request.args.get("call_id", ""), request.args.get("since", "")
    if not 0 < len(call_id) <= MAX_CALL_ID_CHARS or _TIME.fullmatch(since) is None:
        return {}
    begin = int(since)
    end = max(begin, min(live.clock(), begin + _DAY_MS))
    return _filled(live, lambda made_of: trace_link.link_between(made_of, call_id, begin, end))


def _filled(live: LiveCalls, fill: Callable[[str], str | None]) -> dict[str, str]:
    templates = {"link": live.trace_url, "cdr_link": live.cdr_url}
    made = {name: fill(template) for name, template in templates.items() if template is not None}
    return {name: address for name, address in made.items() if address is not None}


def _starting() -> Response:
    return problem(
        503,
        "Starting: the calls known before the start are being checked.",
        {"Retry-After": "1"},
    )
