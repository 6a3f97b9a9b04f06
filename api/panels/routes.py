"""The routes of the panels. Each checks the login and serves a finished document."""

from __future__ import annotations

from dataclasses import dataclass

from quart import Blueprint, Response, request

from api.auth.verifier import Verifier
from api.http.headers import quality
from api.http.problem import problem
from api.panels.documents import Documents, NotAvailable
from livestate.client.paths import TRUNKS_PATH
from livestate.state.access import scope_for


@dataclass(frozen=True, slots=True)
class Panels:
    """What the routes serve."""

    trunks: Documents


def panel_routes(panels: Panels, verifier: Verifier) -> Blueprint:
    routes = Blueprint("panels", __name__)

    @routes.get(TRUNKS_PATH)
    async def trunks() -> Response:
        return await _document(panels.trunks, verifier)

    return routes


async def _document(documents: Documents, verifier: Verifier) -> Response:
    identity = verifier.verify(verifier.token_of(request))
    scope = scope_for(identity, company_id=request.args.get("company_id"))
    try:
        document = await documents.get(scope.company_id)
    except NotAvailable as error:
        return problem(503, str(error), {"Retry-After": "5"})
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    body = document.plain
    if quality(request.headers.getlist("Accept-Encoding"), "gzip") > 0:
        body, headers["Content-Encoding"] = document.gzipped, "gzip"
    return Response(body, content_type="application/json", headers=headers)
