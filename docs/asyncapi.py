"""``docs/asyncapi.yaml``: every channel of livestate as AsyncAPI 3.0, made from the contract.

NATS subjects come from the event models and from what the service publishes itself; the stream of
Server-Sent Events is described here, and a test validates the events of a real stream against it.
"""

from __future__ import annotations

from typing import Any, Final, get_args

import yaml

from api.openapi import document
from livestate.client.paths import STREAM_PATH
from livestate.contract.events import (
    BATCH_SUBJECT,
    CDR_SUBJECT,
    SUBJECT_PREFIX,
    CallPhase,
    Copies,
    Heartbeat,
    Lost,
    Sync,
    contract_schema,
)

Json = dict[str, Any]

# The phase of each message model, in the order in which a call meets them.
PHASES: Final = {
    model.__name__: get_args(model.model_fields["phase"].annotation)[0]
    for model in (*get_args(CallPhase), Heartbeat, Sync, Copies, Lost)
}
_TIME: Final[Json] = {"type": "integer", "description": "ms since the Unix epoch"}
_SIZE: Final[Json] = {"type": "integer", "minimum": 0}
_SHARE: Final[Json] = {"type": ["number", "null"], "description": "null: not measured"}


def text() -> str:
    """The page."""
    made = yaml.safe_dump(specification(), sort_keys=False, width=100, allow_unicode=True)
    return f"# made by `make docs` from the contract and docs/asyncapi.py\n{made}"


def specification() -> Json:
    """The document as a value."""
    channels, operations = _nats()
    channels["stream"] = {
        "address": STREAM_PATH,
        "title": "Server-Sent Events",
        "description": "docs/stream.md says how to fold them.",
        "servers": [{"$ref": "#/servers/http"}],
        "messages": {name: _message(name) for name in _sse()},
    }
    operations["sendStream"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/stream"},
        "summary": "The live calls that a login may see.",
        "bindings": {"http": {"method": "GET"}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "livestate", "version": "1", "license": {"name": "Apache-2.0"},
            "description": "Call events of SIP nodes come in over NATS; live calls go out as "
            "Server-Sent Events. Operations are those of the service.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {"host": "nats.example:4222", "protocol": "nats"},
            "http": {"host": "live.example", "protocol": "https"},
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "schemas": _schemas()},
    }  # fmt: skip


def _nats() -> tuple[Json, Json]:
    channels: Json = {}
    operations: Json = {}
    for model, phase in PHASES.items():
        channels[phase] = _channel(SUBJECT_PREFIX + phase, [model])
        operations[f"receive{model}"] = _operation("receive", phase)
    channels["batch"] = _channel(BATCH_SUBJECT, ["Batch"])
    operations["receiveBatch"] = _operation("receive", "batch")
    channels["cdr"] = _channel(CDR_SUBJECT, ["Ended", "Failed"]) | {
        "description": "JetStream: the terminal event of each call, once."
    }
    operations["receiveCdr"] = _operation("receive", "cdr")
    channels["resync"] = _channel("call.resync.{node}", ["Resync"]) | {
        "description": "Asks the bridge of a node for its list of dialogs (`sync`).",
        "parameters": {"node": {"description": "The node's name."}},
    }
    operations["sendResync"] = _operation("send", "resync")
    operations["sendLost"] = _operation("send", "lost")
    return channels, operations


def _channel(address: str, models: list[str]) -> Json:
    return {"address": address, "servers": [{"$ref": "#/servers/nats"}],
            "messages": {model: _message(model) for model in models}}  # fmt: skip


def _operation(action: str, channel: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}


def _message(name: str) -> Json:
    return {"$ref": f"#/components/messages/{name}"}


def _messages() -> Json:
    models = contract_schema()["$defs"]
    told: Json = {
        model: {"summary": models[model]["description"].splitlines()[0],
                "payload": {"$ref": f"#/components/schemas/{model}"}}
        for model in (*PHASES, "Batch")
    }  # fmt: skip
    told["Resync"] = {"summary": "Nothing: the subject says it all.", "payload": {"type": "string"}}
    for name in _sse():
        told[name] = {"name": name, "payload": {"$ref": f"#/components/schemas/{name}"}}
    return told


def _schemas() -> Json:
    models = contract_schema()["$defs"]
    told = {name: _plain(models[name]) for name in (*PHASES, "SyncedCall", "CopiedCall", "Batch")}
    return told | {"Call": document()["components"]["schemas"]["Call"]} | _sse()


def _plain(schema: Any) -> Any:
    """A model's schema with references into this document. ``null`` is not part of the wire: a
    field is absent, which the models write as None."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if reference := schema.get("$ref"):
        return {"$ref": reference.replace("#/$defs/", "#/components/schemas/")}
    options = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(options) == 1:
        schema = {k: v for k, v in schema.items() if k != "anyOf"} | options[0]
    return {
        name: _plain(value) for name, value in schema.items()
        if not (name == "default" and value is None) and not (name == "title" and value is not None
                                                              and isinstance(value, str))
    }  # fmt: skip


def _object(required: Json, **optional: Any) -> Json:
    return {"type": "object", "required": list(required), "properties": required | optional}


def _sse() -> Json:
    """The data of each event of the stream."""
    call = {"$ref": "#/components/schemas/Call"}
    change = {"type": ["object", "null"], "description": "null removes the call; else the fields "
              "that changed, or all of them."}  # fmt: skip
    ended = _object({"outcome": {"type": "string"}, "ended_at": _TIME},
                    sip_code={"type": "integer"})  # fmt: skip
    names = {"type": "array", "items": {"type": "array"}}
    whats = {"enum": ["silent", "lists", "contested", "refused", "clock"]}
    node = _object(
        {"node": {"type": "string"}, "what": whats},
        reason={"type": ["string", "null"]},
        ahead_ms={"type": ["integer", "null"]},
    )
    return {
        "snapshot": _object({
            "part": {"type": "integer", "minimum": 1}, "parts": {"type": "integer", "minimum": 1},
            "as_of": _TIME, "calls": {"type": "object", "additionalProperties": call},
        }),
        "diff": _object(
            {"as_of": _TIME, "calls": {"type": "object", "additionalProperties": change}},
            part={"type": "integer", "minimum": 1}, parts={"type": "integer", "minimum": 2},
            ended={"type": "object", "additionalProperties": ended},
        ),
        "heartbeat": _object(
            {"as_of": _TIME, "source": {"enum": ["live", "stale"]}, "version": _SIZE,
             "calls": _SIZE, "digest": _SIZE},
            stale_since=_TIME, stale_reason={"type": "string"},
            nodes={"type": "array", "items": node},
        ),
        "kpi": _object({
            "window_seconds": _SIZE, "concurrent": _SIZE, "concurrent_peak": _SIZE,
            "cps": {"type": "number"}, "offered": _SIZE, "completed": _SIZE, "lost": _SIZE,
            "asr": _SHARE, "ner": _SHARE, "acd_seconds": _SHARE, "pdd_ms": _SHARE,
            "trunks": names, "series": {"type": "object"},
        }, companies=names, alarms=_object({
            "alarm": _SIZE, "warning": _SIZE, "open": _SIZE, "changed_at": _TIME,
            "figures": {"type": "object", "additionalProperties": {"type": "array"}},
        })),
        "goodbye": _object({"reason": {
            "enum": ["drain", "rotation", "overload", "starting", "expired", "revoked"]
        }}),
    }  # fmt: skip
