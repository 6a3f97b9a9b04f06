"""How browsers reach the service: below which path, with which cookies, from whose pages.

Made from ``LIVESTATE_PUBLIC_URL`` and ``LIVESTATE_CORS_ORIGINS``. Everything else that the service
writes for a browser is relative, so a proxy may serve it under any name, port and path.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from werkzeug.sansio.request import Request

from api.http.headers import HOST_PREFIX, LOGIN_NAME, PENDING_NAME, SECURE_PREFIX

API: Final = "/api/v1/"
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Content-Type, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}


class Site(NamedTuple):
    """``prefix``: the path of the public URL, ``/noc``, or empty. ``origins``: those whose pages
    may read from the API with their user's login, in lower case."""

    prefix: str = ""
    origins: frozenset[str] = frozenset()

    @property
    def login_cookie(self) -> str:
        """A browser accepts ``__Host-`` for the whole host only, so a cookie of a path needs the
        weaker ``__Secure-`` (RFC 6265bis §4.1.3): a sibling host of the domain can set one too."""
        return (SECURE_PREFIX if self.prefix else HOST_PREFIX) + LOGIN_NAME

    @property
    def pending_cookie(self) -> str:
        """Of a login at the provider that is under way."""
        return (SECURE_PREFIX if self.prefix else HOST_PREFIX) + PENDING_NAME

    @property
    def cookie_path(self) -> str:
        """Other applications of the host are not sent a cookie of a path."""
        return f"{self.prefix}/"

    def names(self, request: Request) -> bool:
        """Whether the page that makes the request is of a named origin."""
        found = request.headers.getlist("Origin")
        return len(found) == 1 and found[0].lower() in self.origins

    def cors(self, request: Request) -> dict[str, str]:
        """The CORS headers of a response of the API (Fetch Standard §3.2). A page of another origin
        gets none, and never ``*``: what is allowed there is read with a cookie."""
        if not self.origins:
            return {}
        if not self.names(request):
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": request.headers["Origin"],
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": "Retry-After",
        }

    def preflight(self, request: Request) -> dict[str, str] | None:
        """The headers of the answer to a preflight request; None: it is none, or its origin is not
        named."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        if not request.path.startswith(API) or not self.names(request):
            return None
        return self.cors(request) | _PREFLIGHT


def relative(request: Request, path: str) -> str:
    """``path``, such as ``/live-calls?wall=1``, relative to the request's own: what a browser makes
    the right address of, whatever a proxy put in front of it (RFC 9110 §10.2.2)."""
    return "../" * (request.path.count("/") - 1) + path.removeprefix("/")
