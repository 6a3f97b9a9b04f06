"""What the HTTP routes answer, as OpenAPI 3.1: ``docs/openapi.json`` is made from it.

Written by hand beside the routes and held against the running service by
``tests/abuse/test_openapi.py``. It is not served: who writes a client has the repository, and who
wants to know what is behind the door has no business to.
"""

from __future__ import annotations

from typing import Any, Final

from api import sse
from api.admission import STREAM_PATH
from api.auth import COOKIE
from livestate.access import LIVE_STATES, MAX_FILTER_VALUES, ROLES
from livestate.events import SUBJECT_PREFIX, Facts

Json = dict[str, Any]

_NO_STORE: Final[Json] = {"schema": {"const": "no-store"}, "required": True}
_BEARER: Final[Json] = {"schema": {"type": "string", "pattern": "^Bearer error="}, "required": True}
_TIME: Final[Json] = {"type": "integer", "description": "ms since the Unix epoch"}
_SIZE: Final[Json] = {"type": "integer", "minimum": 0}
_LOGIN: Final[list[Json]] = [{"bearer": []}, {"cookie": []}]
_ADMIN: Final[list[Json]] = [
    {"url": "http://127.0.0.1:9090", "description": "LIVESTATE_ADMIN_BIND: for the inside only"}
]
_KEY: Final = "^[A-Za-z0-9_-]{16}$"


def document() -> Json:
    """The whole of it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "livestate", "version": "1",
            "description": "The live calls of a phone network. Every error is a problem (RFC 9457);"
            " HEAD and OPTIONS are answered wherever GET is; another method is 405 with Allow. "
            "Nothing but the page's own files may be cached.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            STREAM_PATH: {"get": _stream()},
            f"{STREAM_PATH}/snapshot": {"get": _snapshot()},
            f"{STREAM_PATH}/{{key}}": {"get": _one_call()},
            "/api/v1/session": _session(),
            "/healthz": _admin("Whether the event loop turns.", "text/plain"),
            "/readyz": _admin("Whether this instance wants traffic.", "text/plain", 503),
            "/statusz": _admin("What an engineer asks first.", "application/json"),
            "/metrics": _admin("For Prometheus.", "text/plain; version=0.0.4; charset=utf-8"),
        },
        "components": {
            "schemas": {"Call": _call(), "Problem": _problem(), "Session": _identity()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }  # fmt: skip


def _stream() -> Json:
    return {
        "summary": "The stream: docs/stream.md says how to fold it.",
        "security": _LOGIN,
        "parameters": [
            *_filters(),
            _parameter("last_event_id", "query", {"type": "string"}, "Where the client is."),
            _parameter("Last-Event-ID", "header", {"type": "string"}, "The same; it wins. No id is "
                       "ever an error: what fits nothing gets a snapshot."),
        ],
        "responses": {
            "200": _answer("Events; also where the stream cannot be had now (then a goodbye): any "
                           "other status ends a native EventSource for good.", sse.MEDIA_TYPE,
                           {"type": "string"}),
            **_refusals(400, 401, 403, 406),
        },
    }  # fmt: skip


def _snapshot() -> Json:
    calls = {"type": "object", "propertyNames": {"pattern": _KEY},
             "additionalProperties": {"$ref": "#/components/schemas/Call"}}  # fmt: skip
    told = _object(
        id={"type": "string", "pattern": "^[0-9a-f]{16}-[0-9]+$"}, version=_SIZE, as_of=_TIME,
        digest=_SIZE, calls=calls,
    )  # fmt: skip
    return {
        "summary": "The same table as JSON, with the id to go on from.",
        "security": _LOGIN,
        "parameters": _filters(),
        "responses": {
            "200": _answer("All live calls that may be seen.", "application/json", told),
            **_refusals(400, 401, 403, 503),
        },
    }


def _one_call() -> Json:
    step = _object(phase={"type": "string"}, at=_TIME)
    told = _call() | {"required": ["state", "node", "call_id", "key", "timeline"]}
    told["properties"] |= {
        "state": {"enum": [*sorted(LIVE_STATES), "ended", "failed"]},
        "key": {"type": "string", "pattern": _KEY},
        "timeline": {"type": "array", "items": step},
        "link": {"type": "string", "description": "To its SIP messages: `LIVESTATE_TRACE_URL`."},
    }
    return {
        "summary": "One call, live or ended a while ago, with its timeline.",
        "security": _LOGIN,
        "parameters": [_parameter("key", "path", {"type": "string"}, "As in the snapshot.")],
        "responses": {
            "200": _answer("The call.", "application/json", told),
            **_refusals(401, 403, 404, 503),
        },
    }


def _session() -> Json:
    token = _object(token={"type": "string"})
    cookie = {"schema": {"type": "string", "pattern": f"^{COOKIE}="}, "required": True}
    who = _answer("Who it is.", "application/json", {"$ref": "#/components/schemas/Session"})
    gone: Json = {"description": "Done.", "headers": {"Cache-Control": _NO_STORE,
                                                      "Set-Cookie": cookie}}  # fmt: skip
    logged_in = who | {"headers": who["headers"] | {"Set-Cookie": cookie}}
    return {
        "get": {"summary": "Who am I.", "security": _LOGIN,
                "responses": {"200": who, **_refusals(401, 403)}},
        "post": {
            "summary": "Log in: makes the cookie that lets a native EventSource in.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": token}}},
            "responses": {"200": logged_in, **_refusals(400, 401, 403, 408, 413, 415)},
        },
        "delete": {"summary": "Log out.", "responses": {"204": gone, **_refusals(403)}},
    }  # fmt: skip


def _admin(summary: str, media_type: str, *refusals: int) -> Json:
    kind: Json = {"type": "object" if media_type == "application/json" else "string"}
    answer = {"description": "So it is.", "content": {media_type: {"schema": kind}}}
    told = {"summary": summary, "responses": {"200": answer, **_refusals(*refusals)}}
    return {"servers": _ADMIN, "get": told}


def _filters() -> list[Json]:
    states = {"type": "array", "items": {"enum": sorted(LIVE_STATES)}}
    trunks = {"type": "array", "maxItems": MAX_FILTER_VALUES,
              "items": {"type": "string", "pattern": "^[^,]{1,64}$"}}  # fmt: skip
    company = {"type": "string", "minLength": 1, "maxLength": 64}
    return [
        _parameter("state", "query", states, "Repeated, or separated by commas."),
        _parameter("trunk", "query", trunks, "The same."),
        _parameter("company_id", "query", company, "Narrows for who may see all."),
    ]


def _parameter(name: str, place: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": place, "required": place == "path", "schema": schema,
            "description": description}  # fmt: skip


def _answer(description: str, media_type: str, schema: Json) -> Json:
    return {"description": description, "headers": {"Cache-Control": _NO_STORE},
            "content": {media_type: {"schema": schema}}}  # fmt: skip


def _refusals(*statuses: int) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    answers = {str(status): _answer(_WHY[status], "application/problem+json", schema)
               for status in statuses}  # fmt: skip
    for status in {"401", "403"} & answers.keys():
        answers[status]["headers"] |= {"WWW-Authenticate": _BEARER | {"required": status == "401"}}
    return answers


_WHY: Final = {
    400: "A filter that no call can meet, or no request that can be read.",
    401: "No valid login.",
    403: "A good login of somebody who may see nothing; or a page of another site.",
    404: "No such call, or not one of yours: the two look the same.",
    406: "Something else than a stream is wanted.",
    408: "The body did not come within 5 s.",
    413: "At most 16 KB, with a Content-Length; of a token no more than a cookie holds.",
    415: "Send application/json.",
    503: "Starting, or draining.",
}


def _call() -> Json:
    """A record: the facts of the event contract that are known, and what we make of them."""
    facts = Facts.model_json_schema(by_alias=True)["properties"]
    known = {name: _present(schema) for name, schema in facts.items()}
    return {
        "type": "object",
        "description": f"As the events say it ({SUBJECT_PREFIX}<phase>); absent is unknown.",
        "required": ["state", "node", "call_id", "v"],
        "properties": {
            "state": {"enum": sorted(LIVE_STATES)}, "node": {"type": "string"},
            "call_id": {"type": "string"}, "unconfirmed": {"type": "boolean"},
            "v": {"type": "integer", "minimum": 1}, **known,
        },
        "additionalProperties": False,
    }  # fmt: skip


def _present(schema: Json) -> Json:
    """A fact's schema without "or null": on this wire nothing is null."""
    (there,) = (one for one in schema["anyOf"] if one != {"type": "null"})
    return dict(there)


def _problem() -> Json:
    return _object(type={"const": "about:blank"}, title={"type": "string"},
                   status={"type": "integer"}, detail={"type": "string"})  # fmt: skip


def _identity() -> Json:
    told = _object(role={"enum": sorted(ROLES)}, expires_at=_TIME, company_id={"type": "string"})
    return told | {"required": ["role", "expires_at"]}


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": [*properties], "properties": properties,
            "additionalProperties": False}  # fmt: skip
