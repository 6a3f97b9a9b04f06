"""The GET of each panel, for ``docs/openapi.json``. Pure."""

from __future__ import annotations

from typing import Any, Final

from api.panels import schema
from api.panels.history import WINDOWS
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

_CODE: Final = {
    "name": "code",
    "in": "query",
    "required": False,
    "schema": {"type": "string", "pattern": "^[a-z0-9_]{1,24}$"},
    "description": "Only calls with this SIP response or outcome.",
}

_WINDOW: Final = {
    "name": "window",
    "in": "query",
    "required": False,
    "schema": {"enum": [*WINDOWS]},
    "description": "The last 60 or 1,440 minutes; without it 60.",
}


def paths(
    security: Any, filters: list[Any], parameter: Any, answer: Any, refusals: Any
) -> dict[str, Any]:
    """path → its operations, made with the parts of :mod:`api.openapi`."""

    def get(summary: str, content: str, document: Any, parameters: list[Any]) -> dict[str, Any]:
        return {
            "get": {
                "summary": summary,
                "security": security,
                "parameters": parameters,
                "responses": {
                    "200": answer(content, "application/json", document),
                    **refusals(400, 401, 403, 503),
                },
            }
        }

    return {
        TRUNKS_PATH: get(
            "The trunks of the last 15 minutes, the worst first (docs/operator.md).",
            "The trunks that may be seen.",
            schema.trunks(),
            filters,
        ),
        COMPANIES_PATH: get(
            "The companies of the last 15 minutes, the worst first, for roles that see all calls.",
            "At most 500 of them.",
            schema.companies(),
            [],
        ),
        NODES_PATH: get(
            "The SIP nodes and their health, the worst first, for roles that see all calls.",
            "At most 500 of them.",
            schema.nodes(),
            [],
        ),
        DESTINATIONS_PATH: get(
            "Where the calls of the last five minutes go, the busiest destination first.",
            "At most 300 of them.",
            schema.destinations(),
            filters,
        ),
        HINTS_PATH: get(
            "Hints of fraud: callers of the last five minutes that break a rule, the worst first.",
            "At most 200 of them.",
            schema.hints(),
            filters,
        ),
        ENDED_PATH: get(
            "Calls that ended in the last five minutes, the latest first.",
            "At most 500 of them.",
            schema.ended(),
            [*filters, _CODE],
        ),
        ALARMS_PATH: get(
            "Alarms that are raised, and those of the last 24 hours (docs/operator.md).",
            "Raised ones first.",
            schema.alarms(),
            filters,
        ),
        HISTORY_PATH: get(
            "Calls by minute, with marks for the charts (docs/operator.md).",
            "A minute that was not seen is null.",
            schema.history(),
            [*filters, _WINDOW],
        ),
        f"{ALARMS_PATH}/{{alarm}}": {"post": _acknowledge(security, parameter, filters, refusals)},
    }


def _acknowledge(security: Any, parameter: Any, filters: list[Any], refusals: Any) -> Any:
    alarm = parameter("alarm", "path", {"type": "string"}, "The id of the alarm.")
    no_store = {"schema": {"const": "no-store"}, "required": True}
    return {
        "summary": "Acknowledge an alarm with the name of the login. The first one counts.",
        "security": security,
        "parameters": [alarm, *filters],
        "responses": {
            "204": {"description": "Done.", "headers": {"Cache-Control": no_store}},
            **refusals(400, 401, 403, 404, 503),
        },
    }
