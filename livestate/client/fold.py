"""The fold: what the events of a stream make of the live calls. Pure.

The same in JavaScript: ``clients/js/src/fold.js``. ``tests/vectors/fold.json`` binds the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from livestate.client.sse import ServerEvent

_MODULUS: Final = 2**53

Record = dict[str, Any]  # one call, as docs/openapi.json describes it
Patch = dict[str, Record | None]


class Change(NamedTuple):
    """What a snapshot or a diff changed, with all of its parts."""

    calls: Patch  # key → record, changed fields of a known record, or None: the call left
    ended: dict[str, Record]  # key → why it left; a call that moved to another company has none
    removed: dict[str, Record]  # key → last record of a call that left


@dataclass(slots=True)
class Fold:
    """The calls by key, as a page would show them."""

    calls: dict[str, Record] = field(default_factory=dict)
    digest: int = 0
    complete: bool = False  # a snapshot is here, or we resumed
    last_id: str = ""
    source: str = "unknown"
    goodbye: str | None = None
    diverged: int = 0
    _name: str = ""  # of the event that comes in parts, and what its parts had so far
    _parts: dict[str, Any] = field(default_factory=dict)
    _part: int = 0

    def fold(self, event: ServerEvent) -> Any:
        """Fold one event in; its data, decoded."""
        return self.fold_decoded(event, orjson.loads(event.data))

    def fold_decoded(self, event: ServerEvent, data: Any) -> Any:
        """The same with decoded ``data``, which many folds may share: none changes it."""
        if event.name == "heartbeat":
            self.source = data["source"]
            self.diverged += not self.agrees(data)
        elif event.name == "goodbye":
            self.goodbye = data["reason"]
        else:
            self.apply(event.name, data, event.id)
        return data

    def apply(self, name: str, data: Any, position: str = "") -> Change | None:
        """Fold one event in; what it changed, or None where nothing did: the event is no snapshot
        or diff, or it is not whole yet."""
        whole = self.joined(name, data) if name in ("snapshot", "diff") else None
        if whole is None or (name == "diff" and not self.complete):
            return None
        # Only a folded frame moves the position: an id without its frame would hide a hole.
        if position:
            self.last_id = position
        if name == "snapshot":
            self._replace(whole["calls"])
            return Change(whole["calls"], {}, {})
        return Change(whole["calls"], whole.get("ended", {}), self._merge(whole["calls"]))

    def agrees(self, heartbeat: dict[str, Any]) -> bool:
        """Whether a heartbeat's count and digest are those of the calls here."""
        return not self.complete or (
            heartbeat["calls"] == len(self.calls) and heartbeat["digest"] == self.digest
        )

    def invalidate(self) -> None:
        """The calls here are wrong: they stay to be shown, but only a snapshot is folded next."""
        self.complete = False
        self.last_id = ""
        self._name = ""

    def joined(self, name: str, data: dict[str, Any]) -> dict[str, Any] | None:
        """All parts of an event as one, with its last part; None before. An event without part
        numbers is whole. No call is in two parts of a diff. If a part is missing, the rest of that
        event is ignored, and the next heartbeat's digest differs."""
        part, parts = data.get("part", 1), data.get("parts", 1)
        if part == 1:
            self._name, self._parts, self._part = name, {"calls": {}, "ended": {}}, 0
        if name != self._name or part != self._part + 1:
            self._name = ""
            return None
        self._part = part
        if parts > 1:
            self._parts["calls"] |= data["calls"]
            self._parts["ended"] |= data.get("ended", {})
            if part < parts:
                return None
            data = self._parts
        self._name, self._parts = "", {}
        return data

    def _replace(self, calls: dict[str, Record]) -> None:
        self.calls = dict(calls)
        self.digest = sum(record["v"] for record in calls.values()) % _MODULUS
        self.complete = True

    def _merge(self, patch: Patch) -> dict[str, Record]:
        """The records of the calls that it removes."""
        calls, removed = self.calls, {}
        for key, change in patch.items():
            known = calls.get(key)
            if known is not None:
                self.digest -= known["v"]
            if change is None:
                if known is not None:
                    removed[key] = calls.pop(key)
                continue
            calls[key] = change if known is None else known | change
            self.digest += change["v"]
        self.digest %= _MODULUS
        return removed
