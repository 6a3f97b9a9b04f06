"""The HTTP routes as OpenAPI 3.1; ``docs/openapi.json`` is made from it.

Written by hand, and compared with the running service by ``tests/abuse/test_openapi.py``. The
service does not publish it: clients are written with the repository at hand.
"""

from __future__ import annotations

from typing import Any, Final

from api.http.headers import LOGIN_COOKIE as COOKIE
from api.panels import schema as panels
from api.panels.paths import paths
from api.stream import sse
from livestate.client.paths import CLIENTS_PATH, SNAPSHOT_PATH, STREAM_PATH
from livestate.contract.events import SUBJECT_PREFIX, Facts
from livestate.contract.states import LIVE_STATES
from livestate.state.access import MAX_FILTER_VALUES, ROLES

Json = dict[str, Any]

_NO_STORE: Final[Json] = {"schema": {"const": "no-store"}, "required": True}
_BEARER: Final[Json] = {"schema": {"type": "string", "pattern": "^Bearer error="}, "required": True}
_TIME: Final[Json] = {"type": "integer", "description": "ms since the Unix epoch"}
_SIZE: Final[Json] = {"type": "integer", "minimum": 0}
_LOGIN: Final[list[Json]] = [{"bearer": []}, {"cookie": []}]
_ADMIN: Final[list[Json]] = [
    {"url": "http://127.0.0.1:9090", "description": "LIVESTATE_ADMIN_BIND: for the inside only"}
]
_READER: Final = "^[A-Za-z0-9_-]{8,64}$"
_KEY: Final = "^[A-Za-z0-9_-]{16}$"


def document() -> Json:
    """The whole of it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "livestate",
            "version": "1",
            "description": "The live calls of a phone network. Every error is a problem (RFC 9457);"
            " HEAD and OPTIONS are answered wherever GET is; another method is 405 with Allow. "
            "Nothing but the page's own files may be cached.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            STREAM_PATH: {"get": _stream(), "delete": _leave()},
            SNAPSHOT_PATH: {"get": _snapshot()},
            f"{STREAM_PATH}/{{key}}": {"get": _one_call()},
            CLIENTS_PATH: {"get": _slow_clients()},
            **paths(_LOGIN, _filters(), _parameter, _answer, _refusals),
            "/api/v1/session": _session(),
            "/healthz": _admin("Whether the event loop turns.", "text/plain"),
            "/readyz": _admin("Whether this instance is ready for traffic.", "text/plain", 503),
            "/statusz": _admin("The state of the instance.", "application/json", 401, 403),
            "/metrics": _admin(
                "For Prometheus.", "text/plain; version=0.0.4; charset=utf-8", 401, 403
            ),
        },
        "components": {
            "schemas": {"Call": _call(), "Problem": _problem(), "Session": _identity()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _stream() -> Json:
    return {
        "summary": "The stream: docs/stream.md says how to fold it.",
        "security": _LOGIN,
        "parameters": [
            *_filters(),
            _parameter("last_event_id", "query", {"type": "string"}, "Where the client is."),
            _parameter(
                "reader",
                "query",
                {"type": "string", "pattern": _READER},
                "A random name of the page: its newer stream replaces the older one.",
            ),
            _parameter(
                "Last-Event-ID",
                "header",
                {"type": "string"},
                "The same; it takes precedence. An unknown id gets a snapshot, never an error.",
            ),
        ],
        "responses": {
            "200": _answer(
                "Events; also where the stream cannot be had now (then a goodbye): any "
                "other status ends a native EventSource for good.",
                sse.MEDIA_TYPE,
                {"type": "string"},
            ),
            **_refusals(400, 401, 403, 406),
        },
    }


def _leave() -> Json:
    return {
        "summary": "A page that closes ends its stream, which a proxy may keep open.",
        "security": _LOGIN,
        "parameters": [
            _parameter(
                "reader", "query", {"type": "string", "pattern": _READER}, "As in its stream."
            )
        ],
        "responses": {
            "204": {"description": "Done.", "headers": {"Cache-Control": _NO_STORE}},
            **_refusals(400, 401, 403, 503),
        },
    }


def _snapshot() -> Json:
    calls = {
        "type": "object",
        "propertyNames": {"pattern": _KEY},
        "additionalProperties": {"$ref": "#/components/schemas/Call"},
    }
    schema = _object(
        id={"type": "string", "pattern": "^[0-9a-f]{16}-[0-9]+$"},
        version=_SIZE,
        as_of=_TIME,
        digest=_SIZE,
        calls=calls,
    )
    return {
        "summary": "The same calls as JSON, with the event id to resume from.",
        "security": _LOGIN,
        "parameters": _filters(),
        "responses": {
            "200": _answer("All live calls that may be seen.", "application/json", schema),
            **_refusals(400, 401, 403, 429, 503),
        },
    }


def _one_call() -> Json:
    step = _object(phase={"type": "string"}, at=_TIME)
    schema = _call() | {"required": ["state", "node", "call_id", "key", "timeline"]}
    schema["properties"] |= {
        "state": {"enum": [*sorted(LIVE_STATES), "ended", "failed"]},
        "key": {"type": "string", "pattern": _KEY},
        "timeline": {"type": "array", "items": step},
        **panels.ONE_CALL,
    }
    return {
        "summary": "One call, live or ended a while ago, with its timeline.",
        "security": _LOGIN,
        "parameters": [
            _parameter("key", "path", {"type": "string"}, "As in the snapshot."),
            *(_parameter(*one) for one in panels.LINK_PARAMETERS),
        ],
        "responses": {
            "200": _answer("The call.", "application/json", schema),
            **_refusals(401, 403, 404, 503),
        },
    }


def _slow_clients() -> Json:
    text: Json = {"type": ["string", "null"]}
    client = _object(
        subject={"type": "string"},
        role={"enum": sorted(ROLES)},
        company_id=text,
        filtered={"type": "boolean"},
        address=text,
        open_ms=_SIZE,
        lag_versions={"type": ["integer", "null"], "minimum": 0},
        lag_ms=_SIZE,
        lag_bytes=_SIZE,
    )
    schema = _object(as_of=_TIME, clients={"type": "array", "maxItems": 10, "items": client})
    return {
        "summary": "The clients of this instance that are furthest behind; for the role admin.",
        "security": _LOGIN,
        "responses": {
            "200": _answer("The slowest first; none: all are current.", "application/json", schema),
            **_refusals(401, 403, 503),
        },
    }


def _session() -> Json:
    token = _object(token={"type": "string"})
    cookie = {"schema": {"type": "string", "pattern": f"^{COOKIE}="}, "required": True}
    who = _answer("Who it is.", "application/json", {"$ref": "#/components/schemas/Session"})
    gone: Json = {
        "description": "Done.",
        "headers": {"Cache-Control": _NO_STORE, "Set-Cookie": cookie},
    }
    logged_in = who | {"headers": who["headers"] | {"Set-Cookie": cookie}}
    return {
        "get": {
            "summary": "Who am I.",
            "security": _LOGIN,
            "parameters": [
                _parameter(
                    "reader",
                    "query",
                    {"type": "string"},
                    "Also say for how long the service has been sending to this page's stream.",
                )
            ],
            "responses": {"200": who, **_refusals(401, 403, 503)},
        },
        "post": {
            "summary": "Log in: makes the cookie that lets a native EventSource in.",
            "description": "By a bearer token and no body, or by a token in JSON. The Caddyfile "
            "of deploy/ lets no bodies through.",
            "security": [{"bearer": []}, {}],
            "requestBody": {"required": False, "content": {"application/json": {"schema": token}}},
            "responses": {"200": logged_in, **_refusals(400, 401, 403, 408, 413, 415, 503)},
        },
        "delete": {
            "summary": "Log out.",
            "responses": {
                "200": _answer(
                    "Done here; the identity provider's own session ends at this address.",
                    "application/json",
                    _object(end_session={"type": "string"}),
                ),
                "204": gone,
                **_refusals(403),
            },
        },
    }


def _admin(summary: str, media_type: str, *refusals: int) -> Json:
    kind: Json = {"type": "object" if media_type == "application/json" else "string"}
    answer = {"description": "So it is.", "content": {media_type: {"schema": kind}}}
    schema = {"summary": summary, "responses": {"200": answer, **_refusals(*refusals)}}
    return {"servers": _ADMIN, "get": schema}


def _filters() -> list[Json]:
    states = {"type": "array", "items": {"enum": sorted(LIVE_STATES)}}
    trunks = {
        "type": "array",
        "maxItems": MAX_FILTER_VALUES,
        "items": {"type": "string", "pattern": "^[^,]{1,64}$"},
    }
    company = {"type": "string", "minLength": 1, "maxLength": 64}
    return [
        _parameter("state", "query", states, "Repeated, or separated by commas."),
        _parameter("trunk", "query", trunks, "The same; a comma in a name has a \\ before it."),
        _parameter("company_id", "query", company, "Narrows for who may see all."),
    ]


def _parameter(name: str, place: str, schema: Json, description: str) -> Json:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        "description": description,
    }


def _answer(description: str, media_type: str, schema: Json) -> Json:
    return {
        "description": description,
        "headers": {"Cache-Control": _NO_STORE},
        "content": {media_type: {"schema": schema}},
    }


def _refusals(*statuses: int) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    answers = {
        str(status): _answer(_WHY[status], "application/problem+json", schema)
        for status in statuses
    }
    for status in {"401", "403"} & answers.keys():
        answers[status]["headers"] |= {"WWW-Authenticate": _BEARER | {"required": status == "401"}}
    return answers


_WHY: Final = {
    400: "A filter that no call can meet, or no request that can be read.",
    401: "No valid login.",
    403: "A valid login without rights; or a page of another site.",
    404: "No such call or alarm, or not one of yours: the two look the same.",
    406: "Accept does not allow an event stream.",
    408: "The body did not come within 5 s.",
    413: "At most 16 KB, with a Content-Length; of a token no more than a cookie holds.",
    415: "Send application/json.",
    429: "Too many large snapshots, or too many different filters, of one user; see Retry-After.",
    503: "Starting, draining, or too many large snapshots of all users; or the provider's keys, or "
    "the session in Redis, cannot be read.",
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
            "state": {"enum": sorted(LIVE_STATES)},
            "node": {"type": "string"},
            "call_id": {"type": "string"},
            "unconfirmed": {"type": "boolean"},
            "v": {"type": "integer", "minimum": 1},
            **known,
        },
        "additionalProperties": False,
    }


def _present(schema: Json) -> Json:
    """A fact's schema without "or null": on this wire nothing is null."""
    (there,) = (one for one in schema["anyOf"] if one != {"type": "null"})
    return dict(there)


def _problem() -> Json:
    text: Json = {"type": "string"}
    schema = _object(type={"const": "about:blank"}, title=text, status=_SIZE, detail=text)
    return schema | {"properties": schema["properties"] | panels.FORGOTTEN}


def _identity() -> Json:
    schema = _object(
        role={"enum": sorted(ROLES)},
        subject={"type": "string"},
        expires_at=_TIME,
        company_id={"type": "string"},
        sending_seconds={"type": "number", "minimum": 0},
    )
    return schema | {"required": ["role", "subject", "expires_at"]}


def _object(**properties: Json) -> Json:
    return {
        "type": "object",
        "required": [*properties],
        "properties": properties,
        "additionalProperties": False,
    }
