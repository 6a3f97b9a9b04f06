"""The other end of the wire: SSE bytes to events, events folded to the calls a dashboard shows.

For ``livestate tail``, tests and load. Pure: bytes come in, nothing waits. The page has its own in
JavaScript, ``api/dashboard/fold.js``; ``tests/vectors/`` binds the two, and our parser to a
browser's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

_MODULUS: Final = 2**53


class ServerEvent(NamedTuple):
    """One event of a stream; ``id`` is the last one seen so far, as WHATWG HTML §9.2.6 has it."""

    name: str
    data: bytes
    id: str


class Parser:
    """Bytes in any pieces to events (WHATWG HTML §9.2.6). ``retry`` is the last one told, ms.
    Lines end in LF or CR LF: a lone CR, which nobody sends, ends none here."""

    def __init__(self) -> None:
        self.retry: int | None = None
        self._rest = b""
        self._id = ""
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that this piece completes."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if line:
                self._field(line)
                continue
            if self._data:
                yield ServerEvent(self._name or "message", b"\n".join(self._data), self._id)
            self._name, self._data = "", []

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode()
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode()
        elif name == b"retry" and value.isdigit():
            self.retry = int(value)


@dataclass(slots=True)
class Dashboard:
    """What a stream's events make: the calls by key, as a page would show them."""

    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    digest: int = 0
    complete: bool = False  # a snapshot is here, or we resumed
    last_id: str = ""
    source: str = "unknown"
    goodbye: str | None = None
    diverged: int = 0
    _parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _part: int = 0

    def fold(self, event: ServerEvent) -> Any:
        """Fold one event in; its data, decoded."""
        return self.fold_decoded(event, orjson.loads(event.data))

    def fold_decoded(self, event: ServerEvent, data: Any) -> Any:
        """The same for who has decoded it: many dashboards may share ``data``, none changes it."""
        moved = False
        if event.name == "snapshot":
            moved = self._snapshot(data)
        elif event.name == "diff" and self.complete:
            self._diff(data["calls"])
            moved = True
        elif event.name == "heartbeat":
            self.source = data["source"]
            self.diverged += not self.agrees(data)
        elif event.name == "goodbye":
            self.goodbye = data["reason"]
        # Only what was folded moves us: an id taken without its frame would hide a hole for ever.
        if moved and event.id:
            self.last_id = event.id
        return data

    def agrees(self, heartbeat: dict[str, Any]) -> bool:
        """Whether a heartbeat's count and digest are those of the calls here."""
        return not self.complete or (
            heartbeat["calls"] == len(self.calls) and heartbeat["digest"] == self.digest
        )

    def _snapshot(self, data: dict[str, Any]) -> bool:
        """Whether it is whole now."""
        if data["part"] == 1:
            self._parts, self._part = {}, 0
        if data["part"] != self._part + 1:
            self._part = -1  # a part is missing: this snapshot will never be whole
            return False
        self._part += 1
        self._parts |= data["calls"]
        if self._part < data["parts"]:
            return False
        self.calls, self._parts = self._parts, {}
        self.digest = sum(record["v"] for record in self.calls.values()) % _MODULUS
        self.complete = True
        return True

    def _diff(self, patch: dict[str, dict[str, Any] | None]) -> None:
        calls = self.calls
        for key, change in patch.items():
            known = calls.get(key)
            if known is not None:
                self.digest -= known["v"]
            if change is None:
                calls.pop(key, None)
                continue
            calls[key] = change if known is None else known | change
            self.digest += change["v"]
        self.digest %= _MODULUS
