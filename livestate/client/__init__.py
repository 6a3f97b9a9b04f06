"""The Python client library of the stream: parse, fold, check, resume. docs/clients.md shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from livestate.client.fold import Change, Fold
from livestate.client.sse import Parser, ServerEvent
from livestate.client.states import CONNECTION_STATES, ConnectionState

if TYPE_CHECKING:
    from livestate.client.live_calls import LiveCalls, Refused, Update

__all__ = [
    "CONNECTION_STATES", "Change", "ConnectionState", "Fold", "LiveCalls", "Parser", "Refused",
    "ServerEvent", "Update",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # These need httpx, which takes 40 ms to import; a service that starts uses the parser only.
    if name in ("LiveCalls", "Refused", "Update"):
        from livestate.client import live_calls

        return getattr(live_calls, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
