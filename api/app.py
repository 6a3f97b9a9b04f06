"""The public HTTP application: the page, the stream, the snapshot, one call, the login."""

from __future__ import annotations

from typing import Final

from quart import Quart, Response, request

from api.auth.claims import Unauthenticated, Unavailable
from api.auth.device_routes import device_routes
from api.auth.login_routes import login_routes
from api.auth.oidc_login import OidcLogin
from api.auth.provider_logout import provider_logout_routes
from api.auth.session import MAX_BODY_BYTES, session_routes
from api.auth.session_entry import is_session
from api.auth.sessions import NotLoaded
from api.auth.verifier import Verifier, bearer_of, refusal
from api.error_pages import as_page
from api.http.headers import cookies
from api.http.problem import problem, register
from api.http.security_headers import SECURITY_HEADERS
from api.http.site import API, Site
from api.pages import page_routes
from api.panels.routes import Panels, panel_routes
from api.problem_texts import in_words
from api.stream import sse
from api.stream.admission import accepts_stream
from api.stream.goodbye import goodbye
from api.stream.registry import StreamRegistry
from api.stream.routes import LiveCalls, live_call_routes
from livestate.client.paths import STREAM_PATH
from livestate.state.access import Forbidden, UnknownFilter

BODY_SECONDS: Final = 5  # for a request's body; Quart would wait for a minute


def create_app(
    live: LiveCalls, *, login: OidcLogin | None = None, panels: Panels | None = None
) -> Quart:
    """``login``: the identity provider. Without one, browsers log in by a link with a token."""
    site = live.verifier.site
    app = Quart(__name__, static_folder=None)
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES  # also for routes that read no body
    app.url_map.merge_slashes = False
    register(app)
    at_provider = login.at_provider if login else None
    app.register_blueprint(session_routes(live.verifier, at_provider, live.streams.sending_seconds))
    if login is not None:
        for routes in (login_routes, device_routes, provider_logout_routes):
            app.register_blueprint(routes(login))
    app.register_blueprint(live_call_routes(live))
    if panels is not None:
        app.register_blueprint(panel_routes(panels, live.verifier))
    keys = live.verifier.keys
    app.register_blueprint(
        page_routes(site, token_login=login is None, is_demo=lambda: keys.has_demo_key)
    )
    _add_request_hooks(app, live.verifier)
    _add_error_handlers(app, live.streams)
    _add_response_headers(app, site)
    return app


def _add_request_hooks(app: Quart, verifier: Verifier) -> None:
    site = verifier.site

    @app.before_request
    async def preflight() -> Response | None:
        allowed = site.preflight(request)
        return None if allowed is None else Response(b"", 204, allowed)

    @app.before_request
    async def load_session() -> None:
        """Load a session that is only in Redis, and refresh one that has expired: the routes cannot
        wait for it."""
        found = cookies(request.headers.getlist("Cookie"), site.login_cookie)
        if verifier.sessions is None or len(found) != 1 or not is_session(found[0]):
            return
        if request.method == "DELETE" or bearer_of(request) is not None:
            return
        try:
            verifier.sessions.identity(found[0])
        except NotLoaded:
            await verifier.sessions.prepare(found[0])
        except Unauthenticated:
            pass  # the routes refuse it


def _add_error_handlers(app: Quart, streams: StreamRegistry) -> None:
    @app.errorhandler(Unauthenticated)
    async def unauthenticated(error: Unauthenticated) -> Response:
        return refusal(error)

    @app.errorhandler(Unavailable)
    async def unavailable(error: Unavailable) -> Response:
        """A native EventSource ends for good at any status but 200."""
        if request.path == STREAM_PATH and request.method == "GET" and accepts_stream(request):
            streams.ended["starting"] += 1
            return Response(bytes(goodbye("starting")), content_type=sse.MEDIA_TYPE)
        return problem(503, f"{error.reason[:1].upper()}{error.reason[1:]}.", {"Retry-After": "2"})

    @app.errorhandler(Forbidden)
    async def forbidden(error: Forbidden) -> Response:
        return refusal(error)

    @app.errorhandler(UnknownFilter)
    async def unknown_filter(error: UnknownFilter) -> Response:
        return problem(400, error.reason)


def _add_response_headers(app: Quart, site: Site) -> None:
    @app.after_request
    async def secured(response: Response) -> Response:
        if response.status_code >= 400:
            await in_words(request, response)
            await as_page(request, response, site)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        if request.path.startswith(API):
            for name, value in site.cors(request).items():
                if name == "Vary":
                    response.vary.add(value)
                else:
                    response.headers.setdefault(name, value)
        if "Allow" in response.headers:
            response.headers["Allow"] = ", ".join(sorted(response.allow))
        return response
