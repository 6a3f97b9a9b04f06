"""The Python client library of the stream: parse, fold, check, resume. docs/clients.md shows it."""

from livestate.client.fold import Change, Fold
from livestate.client.live_calls import LiveCalls, Refused, Update
from livestate.client.sse import Parser, ServerEvent
from livestate.client.states import CONNECTION_STATES, ConnectionState

__all__ = [
    "CONNECTION_STATES", "Change", "ConnectionState", "Fold", "LiveCalls", "Parser", "Refused",
    "ServerEvent", "Update",
]  # fmt: skip
