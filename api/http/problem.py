"""Errors over HTTP: RFC 9457 problem details. No response contains internal details."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from quart import Quart, Response
from werkzeug.exceptions import HTTPException

log = logging.getLogger("livestate.api")


def details(status: int, detail: str, members: Mapping[str, Any] | None = None) -> bytes:
    """The body; ``detail`` is for the person who reads it, ``members`` are extension members
    (RFC 9457 §3.2)."""
    return orjson.dumps(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            **(members or {}),
        }
    )


def problem(
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """A problem details response."""
    return Response(
        details(status, detail, members),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        content_type="application/problem+json",
    )


def register(app: Quart) -> None:
    """Make every error of ``app`` a problem: unknown paths, wrong methods, unhandled exceptions."""

    async def refused(error: HTTPException) -> Response:
        status = error.code or 500
        kept = dict(error.get_headers())
        headers: dict[str, str] = {name: kept[name] for name in ("Allow",) if name in kept}
        if status in (301, 302, 307, 308):
            return problem(404, "There is nothing here.")
        return problem(status, error.description or "", headers)

    async def crashed(error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return problem(500, "Internal error; the service's log has the details.")

    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(Exception, crashed)
