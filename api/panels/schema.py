"""The JSON schemas of the panels' documents, for ``docs/openapi.json``. Pure."""

from __future__ import annotations

from typing import Any, Final, get_args

from api.panels.numbering import KINDS as NUMBER_KINDS
from livestate.state.alarms.alarm import Why
from livestate.state.alarms.rules import DEFAULTS
from livestate.state.kpi.hints import RULES as HINT_RULES
from livestate.state.kpi.history import MarkKind
from livestate.state.kpi.trunk_alarms import LEVELS
from livestate.state.kpi.trunk_report import MINUTES
from livestate.state.nodes.health import HEALTH_TRANSITIONS
from livestate.state.nodes.trouble import KINDS

_COUNT: Final = {"type": "integer", "minimum": 0}
_RATIO: Final = {"type": ["number", "null"], "minimum": 0}
_COUNTRY: Final = {"type": "string", "pattern": "^[A-Z]{2}$"}
_TEXT: Final = {"type": "string"}
LINKS: Final = {
    "link": _TEXT | {"description": "To its SIP messages: `LIVESTATE_TRACE_URL`."},
    "cdr_link": _TEXT | {"description": "To its CDR: `LIVESTATE_CDR_URL`."},
}
_NUMBER: Final = {
    "type": "object",
    "required": ["text", "country"],
    "properties": {
        "text": _TEXT | {"description": "As it is written internationally."},
        "country": {"type": ["string", "null"], "pattern": "^[A-Z]{2}$"},
    },
}
ONE_CALL: Final = {
    "numbers": {
        "type": "object",
        "properties": {"from": _NUMBER, "to": _NUMBER},
        "description": "Of parties with a telephone number; see `LIVESTATE_COUNTRY`.",
    },
    **LINKS,
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


def history() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.HISTORY_PATH`."""
    time = {"type": "integer", "description": "ms since the Unix epoch"}
    counts = {"type": "array", "items": {"type": ["integer", "null"], "minimum": 0}}
    mark = _object(
        kind={"enum": [*get_args(MarkKind), *(one for one in LEVELS if one)]},
        since=time,
        until={"type": ["integer", "null"], "description": "Null: it goes on."},
    )
    mark["properties"] |= {"rule": {"enum": [*DEFAULTS]}, "subject": _TEXT}
    return _object(
        next_seconds={"type": "integer", "description": "When to ask again."},
        as_of=time,
        company_id={"type": ["string", "null"], "description": "Null: all calls."},
        window_seconds=_COUNT,
        kept={"type": "boolean", "description": "False: there are more companies than have room."},
        first=time | {"description": "When the first minute begins."},
        step_ms=_COUNT,
        live=counts | {"description": "Calls that were up at the end of the minute."},
        attempts=counts | {"description": "Attempts that were over in it."},
        answered=counts,
        effective=counts | {"description": "Attempts that the network served: for the NER."},
        marks={"type": "array", "items": mark},
    )


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
        window_seconds=_COUNT,
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


def _ranked(**name: Any) -> dict[str, Any]:
    """A row of trunks or companies."""
    alarm = _object(
        rule={"enum": ["capacity", "ner", "asr_drop"]},
        level={"enum": [one for one in LEVELS if one]},
        value={"type": "number"},
        limit={"type": "number"},
    )
    return _object(
        **name,
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


def companies() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.COMPANIES_PATH`."""
    return _object(
        next_seconds={"type": "integer", "description": "When to ask again."},
        as_of={"type": "integer"},
        company_id={"type": "null", "description": "It is of all calls."},
        window_seconds=_COUNT,
        companies={
            "type": "array",
            "items": _ranked(company_id=_TEXT),
            "description": "The worst first.",
        },
        more=_COUNT | {"description": "Companies that are not listed."},
        more_live=_COUNT | {"description": "Calls of those that are up."},
    )


def nodes() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.NODES_PATH`."""
    known = _or_null(_COUNT)
    trouble = _object(
        what={"enum": list(KINDS)},
        reason=_TEXT,
        since_ms=known,
        ahead_ms={"type": "integer"},
    )
    row = _object(
        node=_TEXT,
        level={"enum": list(LEVELS)},
        health={"enum": [*HEALTH_TRANSITIONS, "unknown"]},
        troubles={"type": "array", "items": trouble, "description": "Why it is not healthy."},
        calls=_COUNT | {"description": "Live calls known from it."},
        dialogs=known | {"description": "Live dialogs by its last heartbeat."},
        silent_ms=known | {"description": "Since its last message."},
        heard={"type": "boolean", "description": "Whether it spoke since the service started."},
        epoch=known,
        epoch_ms=known | {"description": "Since its present numbering began."},
        seq=known,
        missing=_COUNT | {"description": "Numbers that may still come."},
        gaps=_COUNT | {"description": "Losses since its numbering began."},
        waits_for_list={"type": "boolean"},
        listed_ms=known | {"description": "Since its last complete list of dialogs."},
        unlisted_dialogs=_COUNT,
        unconfirmed_ms=known | {"description": "Since when calls of it are unconfirmed."},
        clock_ahead_ms={"type": "integer"},
    )
    return _object(
        next_seconds={"type": "integer", "description": "When to ask again."},
        as_of={"type": "integer"},
        company_id={"type": "null", "description": "It is of all calls."},
        nodes={"type": "array", "items": row, "description": "The worst first."},
        more=_COUNT | {"description": "Nodes that are not listed."},
    )


def destinations() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.DESTINATIONS_PATH`."""
    row = _object(
        country=_or_null(_COUNTRY),
        prefix=_or_null(_TEXT) | {"description": "Country code and area, such as `+39 02`."},
        kind={"enum": [*NUMBER_KINDS]},
        live=_COUNT,
        seizures=_COUNT | {"description": "Calls that began in the last five minutes."},
        attempts=_COUNT | {"description": "Calls that are over; the figures below are of these."},
        answered=_COUNT,
        asr=_RATIO,
        ner=_RATIO,
        acd_seconds=_RATIO,
    )
    return _object(
        next_seconds={"type": "integer", "description": "When to ask again."},
        as_of={"type": "integer"},
        company_id={"type": ["string", "null"], "description": "Null: all calls."},
        window_seconds=_COUNT,
        destinations={"type": "array", "items": row, "description": "The busiest first."},
        more=_COUNT | {"description": "Destinations that are not listed."},
    )


def hints() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.HINTS_PATH`."""
    row = _object(
        rule={"enum": [*HINT_RULES]},
        limit=_COUNT,
        count=_COUNT | {"description": "Calls, at least; of the rule `talk` minutes."},
        company_id=_or_null(_TEXT),
        caller=_TEXT,
        callee=_or_null(_TEXT) | {"description": "Of rules about two numbers."},
        country=_or_null(_COUNTRY) | {"description": "Of rules about countries (ISO 3166-1)."},
    )
    return _object(
        next_seconds={"type": "integer", "description": "When to ask again."},
        as_of={"type": "integer"},
        company_id={"type": ["string", "null"], "description": "Null: all calls."},
        window_seconds=_COUNT,
        rules=_object(**dict.fromkeys(HINT_RULES, _COUNT))
        | {"description": "From how many calls on; 0: the rule is off. See `LIVESTATE_HINTS`."},
        short_seconds=_COUNT,
        risk_countries={"type": "array", "items": _COUNTRY},
        history_days=_COUNT | {"description": "How long called countries are remembered."},
        hints={"type": "array", "items": row},
        more=_COUNT | {"description": "Hints that are not listed."},
    )


def trunks() -> dict[str, Any]:
    """The document of :data:`~livestate.client.paths.TRUNKS_PATH`."""
    row = _ranked(trunk=_TEXT)
    row["properties"] |= {
        "capacity": {"type": "integer", "minimum": 1},
        "name": _TEXT,
        "country": _COUNTRY,
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
