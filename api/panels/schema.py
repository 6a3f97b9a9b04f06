"""The JSON schemas of the panels' documents, for ``docs/openapi.json``. Pure."""

from __future__ import annotations

from typing import Any, Final, get_args

from livestate.client.paths import ALARMS_PATH, ENDED_PATH, TRUNKS_PATH
from livestate.state.alarms.alarm import Why
from livestate.state.alarms.rules import DEFAULTS
from livestate.state.kpi.trunk_alarms import LEVELS
from livestate.state.kpi.trunk_report import MINUTES

_COUNT: Final = {"type": "integer", "minimum": 0}
_RATIO: Final = {"type": ["number", "null"], "minimum": 0}
_TEXT: Final = {"type": "string"}
LINKS: Final = {
    "link": _TEXT | {"description": "To its SIP messages: `LIVESTATE_TRACE_URL`."},
    "cdr_link": _TEXT | {"description": "To its CDR: `LIVESTATE_CDR_URL`."},
}
# What the response says of a call that is no longer known.
FORGOTTEN: Final = {
    "kept_seconds": {
        "type": "number",
        "description": "Of a 404 for a call: how long a call is kept after its end.",
    },
    **LINKS,
}
LINK_PARAMETERS: Final[list[tuple[str, str, dict[str, Any], str]]] = [
    ("call_id", "query", _TEXT, "With `since`, for the links of a call that is no longer known."),
    ("since", "query", _TEXT | {"pattern": "^[0-9]{1,15}$"}, "When it was set up, ms."),
]
_FIGURES: Final[dict[str, Any]] = {
    "seizures": _COUNT | {"description": "Attempts that began."},
    "attempts": _COUNT | {"description": "Attempts that are over; the figures below are of these."},
    "answered": _COUNT,
    "faults": _COUNT | {"description": "Attempts that count against the NER."},
    "asr": _RATIO,
    "ner": _RATIO,
    "acd_seconds": _RATIO,
    "pdd_ms": _RATIO,
    "codes": {
        "type": "object",
        "additionalProperties": _COUNT,
        "description": "Of attempts that were not answered: by SIP response, or by outcome.",
    },
}


def paths(
    security: Any, filters: list[Any], parameter: Any, answer: Any, refusals: Any
) -> dict[str, Any]:
    """The paths of the panels, made with the parts of :mod:`api.openapi`."""
    parts = (security, filters, answer, refusals)
    return {
        TRUNKS_PATH: {"get": trunks_get(*parts)},
        ENDED_PATH: {"get": ended_get(*parts)},
        ALARMS_PATH: {"get": alarms_get(*parts)},
        f"{ALARMS_PATH}/{{alarm}}": {
            "post": acknowledge_post(security, parameter, filters, refusals)
        },
    }


def trunks_get(security: Any, filters: list[Any], answer: Any, refusals: Any) -> dict[str, Any]:
    """The GET of the trunks."""
    return {
        "summary": "The trunks of the last 15 minutes, the worst first (docs/operator.md).",
        "security": security,
        "parameters": filters,
        "responses": {
            "200": answer("The trunks that may be seen.", "application/json", trunks()),
            **refusals(400, 401, 403, 503),
        },
    }


def ended_get(security: Any, filters: list[Any], answer: Any, refusals: Any) -> dict[str, Any]:
    """The GET of the calls that ended."""
    code = {
        "name": "code",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "pattern": "^[a-z0-9_]{1,24}$"},
        "description": "Only calls with this SIP response or outcome.",
    }
    return {
        "summary": "Calls that ended in the last five minutes, the latest first.",
        "security": security,
        "parameters": [*filters, code],
        "responses": {
            "200": answer("At most 500 of them.", "application/json", ended()),
            **refusals(400, 401, 403, 503),
        },
    }


def alarms_get(security: Any, filters: list[Any], answer: Any, refusals: Any) -> dict[str, Any]:
    """The GET of the alarms."""
    return {
        "summary": "Alarms that are raised, and those of the last 24 hours (docs/operator.md).",
        "security": security,
        "parameters": filters,
        "responses": {
            "200": answer("Raised ones first.", "application/json", alarms()),
            **refusals(400, 401, 403, 503),
        },
    }


def acknowledge_post(security: Any, parameter: Any, filters: Any, refusals: Any) -> dict[str, Any]:
    """The POST that acknowledges one."""
    return {
        "summary": "Acknowledge an alarm with the name of the login. The first one counts.",
        "security": security,
        "parameters": [parameter("alarm", "path", _TEXT, "The id of the alarm."), *filters],
        "responses": {
            "204": {
                "description": "Done.",
                "headers": {"Cache-Control": {"schema": {"const": "no-store"}, "required": True}},
            },
            **refusals(400, 401, 403, 404, 503),
        },
    }


def alarms() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.ALARMS_PATH`."""
    limit: dict[str, Any] = {"type": ["number", "null"]}
    time = {"type": "integer", "description": "ms since the Unix epoch"}
    level = {"enum": [one for one in LEVELS if one]}
    name = {"enum": [*DEFAULTS]}
    rule = _object(
        rule=name,
        warning=limit,
        alarm=limit,
        raise_after_seconds={"type": "number", "minimum": 0},
        clear_after_seconds={"type": "number", "minimum": 0},
        low_is_bad={"type": "boolean"},
    )
    alarm = _object(
        id={"type": "string", "pattern": "^[0-9a-f]{16}$"},
        rule=name,
        level=level,
        worst=level | {"description": "The highest level that it had."},
        value={"type": "number"},
        peak={"type": "number", "description": "The worst value."},
        limit=limit | {"description": "Of a drop of the ASR: the ASR of the hour before."},
        raised_at=time,
    )
    alarm["properties"] |= {
        "company_id": _TEXT,
        "subject": _TEXT | {"description": "The trunk or node."},
        "cleared_at": time,
        "cleared_why": {"enum": [*get_args(Why)]},
        "acknowledged_by": _TEXT,
        "acknowledged_at": time,
    }
    document = _object(
        next_seconds={"type": "integer", "description": "When to ask again."},
        as_of=time,
        company_id={"type": ["string", "null"], "description": "Null: all calls."},
        rules={"type": "array", "items": rule},
        alarms={"type": "array", "items": alarm},
    )
    document["properties"]["file"] = _object(
        trouble={"type": ["string", "null"]}, bad={"type": "array", "items": _TEXT}
    ) | {"description": "Of `LIVESTATE_ALARMS`; only for roles that see all calls."}
    return document


def ended() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.ENDED_PATH`."""
    call = {
        "type": "object",
        "required": ["key", "reason", "outcome", "ended_at"],
        "properties": {
            "key": _TEXT,
            "reason": _TEXT | {"description": "The SIP response, else the outcome."},
            "outcome": _TEXT,
            "ended_at": {"type": "integer"},
        },
        "description": "Further fields are those of a call.",
    }
    return _object(
        next_seconds={"type": "integer", "description": "When to ask again."},
        as_of={"type": "integer"},
        company_id={"type": ["string", "null"], "description": "Null: all calls."},
        window_seconds=_COUNT,
        total=_COUNT | {"description": "How many ended, with those that are not listed."},
        calls={"type": "array", "items": call},
    )


def trunks() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.TRUNKS_PATH`."""
    alarm = _object(
        rule={"enum": ["capacity", "ner", "asr_drop"]},
        level={"enum": [one for one in LEVELS if one]},
        value={"type": "number"},
        limit={"type": "number"},
    )
    row = _object(
        trunk=_TEXT,
        level={"enum": list(LEVELS)},
        alarms={"type": "array", "items": alarm},
        live=_COUNT,
        peak=_COUNT,
        **_FIGURES,
        asr_by_minute={
            "type": "array",
            "items": _RATIO,
            "minItems": MINUTES,
            "maxItems": MINUTES,
        },
    )
    row["properties"] |= {
        "capacity": {"type": "integer", "minimum": 1},
        "name": _TEXT,
        "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
    }
    bad_line = _object(line={"type": "integer", "minimum": 1}, reason=_TEXT)
    document = _object(
        next_seconds={"type": "integer", "description": "When to ask again."},
        as_of={"type": "integer"},
        company_id={"type": ["string", "null"], "description": "Null: all calls."},
        window_seconds=_COUNT,
        trunks={"type": "array", "items": row, "description": "The worst first."},
        without_trunk=_or_null(_object(**_FIGURES)),
        others=_or_null(_object(**_FIGURES, live=_COUNT)),
    )
    document["properties"]["file"] = _object(
        trunks=_COUNT,
        trouble={"type": ["string", "null"]},
        bad=_COUNT,
        bad_lines={"type": "array", "items": bad_line},
    ) | {"description": "Of `LIVESTATE_TRUNKS`; only for roles that see all calls."}
    return document


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [*properties],
        "properties": properties,
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}
