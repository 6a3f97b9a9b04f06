"""The JSON schemas of the panels' documents, for ``docs/openapi.json``. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from livestate.state.kpi.trunk_alarms import LEVELS
from livestate.state.kpi.trunk_report import MINUTES

_COUNT: Final = {"type": "integer", "minimum": 0}
_RATIO: Final = {"type": ["number", "null"], "minimum": 0}
_TEXT: Final = {"type": "string"}
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


def trunks_operation(
    security: Any,
    company_id: Any,
    answer: Callable[[str, str, dict[str, Any]], Any],
    refusals: Callable[..., Any],
) -> dict[str, Any]:
    """The GET of that path, made with the parts of :mod:`api.openapi`."""
    return {
        "summary": "The trunks of the last 15 minutes, the worst first (docs/operator.md).",
        "security": security,
        "parameters": [company_id],
        "responses": {
            "200": answer("The trunks that may be seen.", "application/json", trunks()),
            **refusals(400, 401, 403, 503),
        },
    }


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
