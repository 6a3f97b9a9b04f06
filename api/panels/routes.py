"""The routes of the panels. Each checks the login and serves a finished document."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from quart import Blueprint, Response, request

from api.auth.verifier import Verifier, foreign
from api.http.headers import quality
from api.http.problem import problem
from api.panels.documents import Documents, NotAvailable, Wanted
from api.panels.history import WINDOWS
from api.stream.admission import wanted as wanted_scope
from livestate.client.paths import (
    ALARMS_PATH,
    COMPANIES_PATH,
    DESTINATIONS_PATH,
    ENDED_PATH,
    HINTS_PATH,
    HISTORY_PATH,
    NODES_PATH,
    TRUNKS_PATH,
)
from livestate.state.access import Forbidden, Scope, UnknownFilter

_CODE: Final = re.compile(r"[a-z0-9_]{1,24}")
_ALARM: Final = re.compile(r"[0-9a-f]{16}")


# name → path. An engine and its edges know a panel by its name.
PANELS: Final = {
    "trunks": TRUNKS_PATH,
    "companies": COMPANIES_PATH,
    "nodes": NODES_PATH,
    "destinations": DESTINATIONS_PATH,
    "hints": HINTS_PATH,
    "ended": ENDED_PATH,
    "alarms": ALARMS_PATH,
    "history": HISTORY_PATH,
}


@dataclass(frozen=True, slots=True)
class Panels:
    """What the routes serve. ``acknowledge(company, alarm, by)`` is False where there is no such
    alarm, and raises :class:`~api.panels.documents.NotAvailable`."""

    documents: Mapping[str, Documents]
    acknowledge: Callable[[str | None, str, str], Awaitable[bool]]


def panel_routes(panels: Panels, verifier: Verifier) -> Blueprint:
    routes = Blueprint("panels", __name__)
    documents = panels.documents

    @routes.get(TRUNKS_PATH)
    async def trunks() -> Response:
        scope = _scope(verifier)
        return await _document(documents["trunks"], Wanted(scope.company_id))

    @routes.get(DESTINATIONS_PATH)
    async def destinations() -> Response:
        return await _document(documents["destinations"], Wanted(_scope(verifier).company_id))

    @routes.get(HINTS_PATH)
    async def hints() -> Response:
        return await _document(documents["hints"], Wanted(_scope(verifier).company_id))

    @routes.get(ENDED_PATH)
    async def ended() -> Response:
        scope, code = _scope(verifier), request.args.get("code")
        if code is not None and not _CODE.fullmatch(code):
            raise UnknownFilter("code is a SIP response, such as 503, or an outcome, such as busy")
        wanted = Wanted(scope.company_id, tuple(sorted(scope.trunks)), code)
        return await _document(documents["ended"], wanted)

    @routes.get(COMPANIES_PATH)
    async def companies() -> Response:
        return await _of_all_calls("companies")

    @routes.get(NODES_PATH)
    async def nodes() -> Response:
        return await _of_all_calls("nodes")

    async def _of_all_calls(name: str) -> Response:
        """A panel that names all companies or all nodes."""
        if not verifier.verify(verifier.token_of(request)).sees_all:
            raise Forbidden(f"only roles that see all calls may see the {name}")
        return await _document(documents[name], Wanted(None))

    @routes.get(ALARMS_PATH)
    async def alarms() -> Response:
        scope = _scope(verifier)
        return await _document(documents["alarms"], Wanted(scope.company_id))

    @routes.get(HISTORY_PATH)
    async def history() -> Response:
        scope, window = _scope(verifier), request.args.get("window", "hour")
        if window not in WINDOWS:
            raise UnknownFilter(f"window is one of {', '.join(WINDOWS)}")
        return await _document(documents["history"], Wanted(scope.company_id, code=window))

    @routes.post(f"{ALARMS_PATH}/<alarm>")
    async def acknowledge(alarm: str) -> Response:
        return await _acknowledge(panels, verifier, alarm)

    return routes


async def _acknowledge(panels: Panels, verifier: Verifier, alarm: str) -> Response:
    """Without a body. The login's cookie is SameSite=Strict, and a page of another site is refused
    whatever login it has."""
    if foreign(request):
        return problem(403, "A page of another site may not acknowledge alarms here.")
    identity = verifier.verify(verifier.token_of(request))
    company = wanted_scope(request, identity).company_id
    try:
        done = _ALARM.fullmatch(alarm) is not None and await panels.acknowledge(
            company, alarm, identity.subject
        )
    except NotAvailable as error:
        return problem(503, str(error), {"Retry-After": "5"})
    if not done:
        return problem(404, "There is no such alarm, or it is not one of yours.")
    panels.documents["alarms"].forget()
    return Response(status=204, headers={"Cache-Control": "no-store"})


def _scope(verifier: Verifier) -> Scope:
    return wanted_scope(request, verifier.verify(verifier.token_of(request)))


async def _document(documents: Documents, wanted: Wanted) -> Response:
    try:
        document = await documents.get(wanted)
    except NotAvailable as error:
        return problem(503, str(error), {"Retry-After": "5"})
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    body = document.plain
    if quality(request.headers.getlist("Accept-Encoding"), "gzip") > 0:
        body, headers["Content-Encoding"] = document.gzipped, "gzip"
    return Response(body, content_type="application/json", headers=headers)
