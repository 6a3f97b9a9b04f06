"""Errors as pages for people: what happened, what to do, and a link to the live calls.

Every error of the service is a problem (RFC 9457). A browser that opens a page address and gets one
shows it as JSON, so this module writes an HTML page with the same status and headers instead, in
the browser's language. The API, and every client that does not ask for a page, keep the problem.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import orjson
from quart import Request, Response

from api.http.headers import quality
from api.http.site import API, Site
from api.texts import best, page, text
from livestate.process.clock import now_ms

_PAGE: Final = "error.html"
_JSON: Final = ("application/problem+json", "application/json")
# Status → the beginning of its texts; see also `error.refused_…` for every other one.
_TEXTS: Final = {
    404: "error.not_found",
    405: "error.method",
    500: "error.crashed",
    503: "error.unavailable",
}
_OTHER: Final = "error.refused"


def wants_page(request: Request) -> bool:
    """Whether a person looks at the response to ``request``: a browser opens a page address."""
    if request.method not in ("GET", "HEAD") or request.path.startswith(API):
        return False
    accepted = request.headers.getlist("Accept")
    if _names_html(accepted):
        return quality(accepted, "text/html") >= max(quality(accepted, one) for one in _JSON)
    # A proxy may drop what the browser accepts, but not what it is for (Fetch Metadata).
    return request.headers.get("Sec-Fetch-Dest") == "document" and all(
        one.strip() in ("", "*/*") for one in accepted
    )


def _names_html(accepted: Iterable[str]) -> bool:
    """``*/*`` is what programs send that take anything."""
    names = {part.split(";")[0].strip().lower() for one in accepted for part in one.split(",")}
    return "text/html" in names


async def as_page(request: Request, response: Response, site: Site) -> None:
    """Make a problem a page if ``request`` wants one."""
    if response.mimetype != "application/problem+json":
        return
    if not request.path.startswith(API):
        response.vary.update(("Accept", "Accept-Language"))
    if not wants_page(request):
        return
    problem = orjson.loads(await response.get_data())
    language = best(request.headers.getlist("Accept-Language"))
    response.set_data(_page(problem, language, up(request, site)))
    response.content_type = "text/html; charset=utf-8"


def _page(problem: dict[str, str | int], language: str, root: str) -> str:
    status = int(problem["status"])
    key = _TEXTS.get(status, _OTHER)
    values = {
        "status": str(status),
        "detail": str(problem["detail"]),
        "time": f"{_utc(now_ms())} UTC",
    }
    filled = page(_PAGE, language)
    filled = re.sub(r'href="', f'href="{html.escape(root)}', filled)
    for part in ("what", "why", "remedy"):
        shown = html.escape(text(f"{key}_{part}", language, **values), quote=False)
        filled = filled.replace(f' id="{part}">', f' id="{part}">{shown}')
    return filled


def up(request: Request, site: Site) -> str:
    """What leads from the request's address to the service's root. Relative, because a proxy may
    serve it below a path that nothing here knows; counted in the path as the browser wrote it,
    where ``%2F`` is no slash (URL Standard, "path state")."""
    if site.prefix:
        return f"{site.prefix}/"
    raw = bytes(request.scope.get("raw_path") or request.path.encode()).partition(b"?")[0]
    return "../" * (max(1, raw.count(b"/")) - 1) or "./"


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
