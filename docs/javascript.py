"""``clients/js/src/contract.js``: names and types of the stream for the JavaScript client library.

They come from the event contract, the routes and the Python client, so the two sides cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

from api.openapi import document
from livestate.client.paths import STREAM_PATH
from livestate.client.states import CONNECTION_STATES
from livestate.contract.states import LiveState
from livestate.fanout.subscriber import Goodbye
from livestate.state.source import STALE_REASONS

_ENDING: Final = ("outcome", "ended_at", "sip_code")
_TYPES: Final = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean"}


def text() -> str:
    """The module."""
    call = document()["components"]["schemas"]["Call"]
    final = {name: call["properties"][name] for name in _ENDING}
    lists = {
        "LIVE_STATES": ("LiveState", "The state of a live call.", get_args(LiveState)),
        "CONNECTION_STATES": (
            "ConnectionState", "The state of the connection; see docs/clients.md.",
            CONNECTION_STATES,
        ),
        "GOODBYE_REASONS": ("GoodbyeReason", "Why the service ends a stream.", get_args(Goodbye)),
        "STALE_REASONS": ("StaleReason", "Why what is shown is stale.", STALE_REASONS),
    }  # fmt: skip
    return "\n".join([
        "// Made by `make docs` from the Python contract (docs/javascript.py).",
        "",
        "/** The stream, relative to the service's address; one call is below it, by its key. */",
        f'export const STREAM_PATH = "{STREAM_PATH.removeprefix("/")}";',
        *(line for name, one in lists.items() for line in _names(name, *one)),
        "",
        *_object("CallRecord", "One live call; times are ms since the Unix epoch.",
                 call["properties"], call["required"]),
        "",
        *_object("Ending", "Why a call left.", final, ("outcome", "ended_at")),
        "",
    ])  # fmt: skip


def _names(constant: str, kind: str, about: str, values: Iterable[str]) -> list[str]:
    quoted = [f'"{value}"' for value in values]
    return [
        "",
        f"/** {about} @typedef {{{' | '.join(quoted)}}} {kind} */",
        f"/** @type {{readonly {kind}[]}} */",
        f"export const {constant} = Object.freeze([{', '.join(quoted)}]);",
    ]


def _object(kind: str, about: str, fields: dict[str, Any], required: Iterable[str]) -> list[str]:
    needed = set(required)
    return [
        "/**",
        f" * {about}",
        f" * @typedef {{Object}} {kind}",
        *(
            f" * @property {{{_type(name, field)}}} {name if name in needed else f'[{name}]'}"
            for name, field in fields.items()
        ),
        " */",
    ]


def _type(name: str, field: dict[str, Any]) -> str:
    if name == "state":
        return "LiveState"
    if "enum" in field:
        return " | ".join(f'"{value}"' for value in field["enum"])
    return _TYPES[field["type"]]
