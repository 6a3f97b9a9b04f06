"""What a client is told of a change: records, and RFC 7396 merge patches between them, as JSON.

Pure bytes in the terms of the wire (design, the wire). How they are framed is ``api/sse.py``.
A record is flat, has no nulls, and carries the version ``v`` at which its scope last saw it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from livestate.call import FACTS, Call

_WIRE: Final = tuple({"caller": "from", "callee": "to"}.get(name, name) for name in FACTS)
_HEAD: Final = len(Call._fields) - len(FACTS)

Row = tuple[str, Call | None, int]  # key, call (None: it left the scope), version


def record(call: Call) -> dict[str, Any]:
    """A live call as a client sees it, without its version: facts that are known, no nulls."""
    wire: dict[str, Any] = {"state": call.state, "node": call.node, "call_id": call.call_id}
    wire |= {n: told for n, told in zip(_WIRE, call[_HEAD:], strict=True) if told is not None}
    if call.unconfirmed is not None:
        wire["unconfirmed"] = call.unconfirmed
    return wire


def changed(before: Call, after: Call) -> dict[str, Any]:
    """The fields of ``after`` that differ from ``before``: both live, as one client saw them."""
    wire: dict[str, Any] = {}
    if before.state != after.state:
        wire["state"] = after.state
    if before.unconfirmed != after.unconfirmed:
        wire["unconfirmed"] = after.unconfirmed
    for name, old, new in zip(_WIRE, before[_HEAD:], after[_HEAD:], strict=True):
        if new is not None and new != old:
            wire[name] = new
    return wire


def ending(call: Call) -> dict[str, Any]:
    """Why and when a call left the table."""
    wire: dict[str, Any] = {"outcome": call.conclusion, "ended_at": call.over_at}
    if call.sip_code is not None:
        wire["sip_code"] = call.sip_code
    return wire


class Records:
    """Whole records, encoded once a call however many scopes and snapshots show them.

    Kept for as long as they are asked for: what nobody wanted between two calls of ``rest`` is
    let go, for it is half as large as the call itself.
    """

    def __init__(self) -> None:
        self._fresh: dict[str, tuple[Call, bytes]] = {}
        self._older: dict[str, tuple[Call, bytes]] = {}
        self.encodes = 0  # work done, for the benchmark gate

    def __len__(self) -> int:
        return len(self._fresh) + len(self._older)

    def get(self, call: Call) -> bytes:
        """``{"state":…`` without the closing brace, so that a scope's ``v`` can follow."""
        key = call.key
        found = self._fresh.get(key) or self._older.pop(key, None)
        if found is None or found[0] is not call:
            self.encodes += 1
            found = call, orjson.dumps(record(call))[:-1]
        self._fresh[key] = found
        return found[1]

    def forget(self, key: str) -> None:
        self._fresh.pop(key, None)
        self._older.pop(key, None)

    def rest(self) -> None:
        """Let go of what was not asked for since the last rest."""
        self._older, self._fresh = self._fresh, {}


def snapshot(
    rows: Iterable[tuple[str, Call, int]], records: Records, as_of: int, part_bytes: int
) -> list[bytes]:
    """All calls of a scope as the data of one or more ``snapshot`` events of about
    ``part_bytes`` each. An empty scope is one part with no calls."""
    bodies: list[bytes] = []
    pieces: list[bytes] = []
    size = 0
    for key, call, version in rows:
        piece = b'"%b":%b,"v":%d}' % (key.encode(), records.get(call), version)
        pieces.append(piece)
        size += len(piece)
        if size >= part_bytes:
            bodies.append(b",".join(pieces))
            pieces, size = [], 0
    if pieces or not bodies:
        bodies.append(b",".join(pieces))
    return [
        b'{"part":%d,"parts":%d,"as_of":%d,"calls":{%b}}' % (part, len(bodies), as_of, body)
        for part, body in enumerate(bodies, 1)
    ]


def diff(
    rows: Iterable[Row],
    before: Mapping[str, Call | None],
    gone: Callable[[str], Call | None],
    records: Records,
    as_of: int,
) -> bytes:
    """A merge patch on ``{"calls": …}`` with the rows that changed, oldest change first.

    ``before`` holds a call as the client has it where only changed fields need to be sent;
    without it the whole record goes. ``gone`` finds a call whose end may be told.
    """
    calls: list[bytes] = []
    ended: list[bytes] = []
    for key, call, version in rows:
        name = key.encode()
        if call is None:
            calls.append(b'"%b":null' % name)
            over = gone(key)
            if over is not None:
                ended.append(b'"%b":%b' % (name, orjson.dumps(ending(over))))
            continue
        base = before.get(key)
        if base is None or not base.live:
            calls.append(b'"%b":%b,"v":%d}' % (name, records.get(call), version))
        else:
            patch = changed(base, call)
            patch["v"] = version
            calls.append(b'"%b":%b' % (name, orjson.dumps(patch)))
    data = b'{"as_of":%d,"calls":{%b}' % (as_of, b",".join(calls))
    if ended:
        data += b',"ended":{%b}' % b",".join(ended)
    return data + b"}"
