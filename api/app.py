"""The public HTTP application: the page, the stream, the snapshot, one call, the login."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
from quart import Quart, Response, request, send_from_directory

from api import direct, sse, trace
from api.address import Networks
from api.admission import STREAM_PATH, accepts_stream, admit, wanted
from api.auth import Verifier, refusal, token_of
from api.keys import Unauthenticated
from api.problem import problem, register
from api.session import MAX_BODY_BYTES, session_routes
from api.stream import Streams
from livestate.access import Forbidden, UnknownFilter, scope_for
from livestate.active_calls import ActiveCalls
from livestate.call import Call
from livestate.diff import ending, record
from livestate.runtime.frame import Follower

DASHBOARD: Final = Path(__file__).parent / "dashboard"
PAGES: Final = frozenset({"live-calls.html", "login.html"})  # they have addresses of their own
ASSETS: Final = frozenset(
    str(path.relative_to(DASHBOARD)) for path in DASHBOARD.rglob("*.*") if path.name not in PAGES
)
BODY_SECONDS: Final = 5  # Quart waits a minute for a body
# Of every answer, unless it says otherwise itself.
SECURED: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(
    table: ActiveCalls,
    streams: Streams,
    verifier: Verifier,
    *,
    clock: Callable[[], int],
    trusted_proxies: Networks = (),
    trace_url: str | None = None,
) -> Quart:
    """The application. Everything it serves is in its arguments."""
    app = Quart(__name__, static_folder=None)
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES  # also of what no route reads
    app.url_map.merge_slashes = False
    register(app)
    app.register_blueprint(session_routes(verifier))

    @app.errorhandler(Unauthenticated)
    async def unauthenticated(error: Unauthenticated) -> Response:
        return refusal(error)

    @app.errorhandler(Forbidden)
    async def forbidden(error: Forbidden) -> Response:
        return refusal(error)

    @app.errorhandler(UnknownFilter)
    async def unknown_filter(error: UnknownFilter) -> Response:
        return problem(400, error.reason)

    @app.get(STREAM_PATH)
    async def live_calls() -> Response:
        peer, _ = request.scope["client"] or ("", 0)
        admission = admit(request, peer, verifier, trusted_proxies)
        if not accepts_stream(request):
            return problem(406, f"This is {sse.MEDIA_TYPE}; JSON is at {STREAM_PATH}/snapshot.")
        if request.method == "HEAD":
            return Response(b"", content_type=sse.MEDIA_TYPE)
        follower = Follower() if admission.gzip else None
        body = streams.frames(admission, direct.outlet(request, follower), follower)
        response = Response(body, headers=admission.headers)
        response.timeout = None  # Quart ends a response after 60 s otherwise, without a word
        return response

    @app.get(f"{STREAM_PATH}/snapshot")
    async def snapshot() -> Response:
        identity = verifier.verify(token_of(request))
        scope = wanted(request, identity)
        if streams.starting:
            return _starting()
        view = table.view(scope)
        try:
            told: dict[str, Any] = {
                "id": sse.write_id(sse.Position(view.tag, view.version)).decode(),
                "version": view.version, "as_of": clock(), "digest": view.digest,
                "calls": {key: record(call) | {"v": v} for key, call, v in view.snapshot()},
            }  # fmt: skip
        finally:
            streams.hub.unwatched(view)
        return _json(told)

    @app.get(f"{STREAM_PATH}/<key>")
    async def one_call(key: str) -> Response:
        identity = verifier.verify(token_of(request))
        if streams.starting:
            return _starting()
        call = table.calls.get(key)
        if call is None or not scope_for(identity).admits(call):
            return problem(404, "No such call, or not one of yours.")
        told = _story(call)
        if trace_url is not None and identity.sees_all:
            told["link"] = trace.link(trace_url, call, clock())
        return _json(told)

    @app.get("/live-calls")
    async def page() -> Response:
        return _html("live-calls.html")

    @app.get("/login")
    async def login() -> Response:
        return _html("login.html")

    @app.get("/static/<path:name>")
    async def asset(name: str) -> Response:
        if name not in ASSETS:  # a file system would be asked for whatever somebody thinks of
            return problem(404, "There is nothing here.")
        return await send_from_directory(DASHBOARD, name, conditional=True)

    @app.get("/")
    async def root() -> Response:
        return Response(status=302, headers={"Location": "/live-calls"})

    @app.after_request
    async def secured(response: Response) -> Response:
        for name, value in SECURED.items():
            response.headers.setdefault(name, value)
        if "Allow" in response.headers:
            response.headers["Allow"] = ", ".join(sorted(response.allow))
        return response

    return app


def _story(call: Call) -> dict[str, Any]:
    """One call with its history: what happened when, in the node's order."""
    told = record(call)
    if not call.live:
        told |= ending(call)
    told["key"] = call.key
    told["timeline"] = [{"phase": mark.phase, "at": mark.at} for mark in call.marks]
    return told


def _starting() -> Response:
    return problem(503, "Starting: what was known before the start is being checked.",
                   {"Retry-After": "1"})  # fmt: skip


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), content_type="application/json")


def _html(name: str) -> Response:
    return Response((DASHBOARD / name).read_bytes(), content_type="text/html; charset=utf-8")
