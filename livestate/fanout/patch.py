"""Calls as JSON for clients: whole records, and RFC 7396 merge patches between them.

Pure functions to bytes, in the names of the stream's contract (docs/stream.md). The SSE lines
around them are made by ``api/stream/sse.py``. A record is flat, has no nulls, and carries the
version ``v`` at which its scope last saw it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from livestate.contract.quality import FIGURES
from livestate.state.call import Call
from livestate.state.call_fields import UNMEASURED, WIRE_NAMES, Quality

_WIRE: Final = WIRE_NAMES[: -len(FIGURES)]  # of the attributes before the quality

# A line of a stream is no longer than this, with "data: " and its end. Readers have limits: 64 KiB
# in Go's bufio.Scanner, 128 KiB in aiohttp's readline. What else is on a line (part numbers, time,
# names) has ENVELOPE_BYTES at most, and the longest record is less than half a line: its texts are
# bounded by the event contract.
LINE_BYTES: Final = 48 * 1024
ENVELOPE_BYTES: Final = 128

Row = tuple[str, Call | None, int]  # key, call (None: it left the scope), version


def record(call: Call) -> dict[str, Any]:
    """A live call as a client sees it, without its version: known attributes only, no nulls."""
    fields: dict[str, Any] = {"state": call.state, "node": call.node, "call_id": call.call_id}
    attributes = call.attributes
    for name, value in zip(_WIRE, attributes):  # noqa: B905 - the last one follows
        if value is not None:
            fields[name] = value
    if attributes.quality is not None:
        _add_quality(fields, UNMEASURED, attributes.quality)
    if call.unconfirmed is not None:
        fields["unconfirmed"] = call.unconfirmed
    return fields


def changed(before: Call, after: Call) -> dict[str, Any]:
    """The fields of ``after`` that differ from ``before``: both live, as one client saw them."""
    fields: dict[str, Any] = {}
    if before.state != after.state:
        fields["state"] = after.state
    if before.unconfirmed != after.unconfirmed:
        fields["unconfirmed"] = after.unconfirmed
    was, now = before.attributes, after.attributes
    for name, old, new in zip(_WIRE, was, now):  # noqa: B905 - the last one follows
        if new is not None and new != old:
            fields[name] = new
    if now.quality is not None and now.quality != was.quality:
        _add_quality(fields, was.quality or UNMEASURED, now.quality)
    return fields


def _add_quality(fields: dict[str, Any], was: Quality, now: Quality) -> None:
    for name, old, new in zip(FIGURES, was, now, strict=True):
        if new is not None and new != old:
            fields[name] = new


def ending(call: Call) -> dict[str, Any]:
    """Why and when a call left the table."""
    fields: dict[str, Any] = {"outcome": call.conclusion, "ended_at": call.over_at}
    if call.sip_code is not None:
        fields["sip_code"] = call.sip_code
    return fields


class Records:
    """Whole records, encoded once a call however many scopes and snapshots show them.

    An encoded record is half as large as the call itself, so it is kept only while it is used:
    :meth:`evict_unused`, called now and then, drops those that were not used since the call before.
    Two dictionaries do that without a time stamp a record: a record that is used moves from the
    older one to the fresh one, and an eviction drops the older one.
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

    def evict_unused(self) -> None:
        """Drop the records that were not used since the last call of this."""
        self._older, self._fresh = self._fresh, {}


def snapshot(
    rows: Iterable[tuple[str, Call, int]], records: Records, as_of: int, part_bytes: int
) -> list[bytes]:
    """All calls of a scope as the data of one or more ``snapshot`` events, each a line of at most
    ``part_bytes``. An empty scope is one part with no calls."""
    return list(numbered(list(bodies(rows, records, part_bytes - ENVELOPE_BYTES)), as_of))


def bodies(
    rows: Iterable[tuple[str, Call, int]], records: Records, part_bytes: int
) -> Iterator[bytes]:
    """The calls of a snapshot without its frame: members of a JSON object, at most ``part_bytes``
    a piece unless one call is longer. A piece costs less than a millisecond; an empty scope is one
    empty piece."""
    pieces: list[bytes] = []
    size = 0
    for key, call, version in rows:
        piece = b'"%b":%b,"v":%d}' % (key.encode(), records.get(call), version)
        size += len(piece) + 1
        if size > part_bytes and pieces:
            yield b",".join(pieces)
            pieces, size = [], len(piece) + 1
        pieces.append(piece)
    yield b",".join(pieces)


def numbered(made: list[bytes], as_of: int) -> Iterator[bytes]:
    """The data of each ``snapshot`` event. A body is dropped once its part is made, so that a large
    snapshot is not in memory twice."""
    parts = len(made)
    for index in range(parts):
        body, made[index] = made[index], b""
        yield b'{"part":%d,"parts":%d,"as_of":%d,"calls":{%b}}' % (index + 1, parts, as_of, body)


def diff(
    rows: Iterable[Row],
    before: Mapping[str, Call | None],
    gone: Callable[[str], Call | None],
    records: Records,
    as_of: int,
) -> list[bytes]:
    """A merge patch on ``{"calls": …}`` with the ``rows`` that changed, oldest change first: the
    data of one ``diff`` event, or of several where one line would be longer than
    :data:`LINE_BYTES`. No call is in two of them.

    ``before`` holds calls as every receiving client has them: of those only the changed fields
    are sent, of all others the whole record. ``gone`` finds an ended call whose outcome the client
    may see; it goes under ``ended``, which is no part of the fold.

    Patches of two steps cannot be composed to one (a merge patch cannot say "replace this
    object"), so a diff over several versions is always made from the calls themselves.
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
    data = b'{"as_of":%d,%b}' % (as_of, _members(calls, ended))
    if len(data) <= LINE_BYTES - ENVELOPE_BYTES:
        return [data]
    made = list(_parted(calls, ended))
    return [
        b'{"part":%d,"parts":%d,"as_of":%d,%b}' % (number, len(made), as_of, members)
        for number, members in enumerate(made, 1)
    ]


def _members(calls: list[bytes], ended: list[bytes]) -> bytes:
    members = b'"calls":{%b}' % b",".join(calls)
    return members + b',"ended":{%b}' % b",".join(ended) if ended else members


def _parted(calls: list[bytes], ended: list[bytes]) -> Iterator[bytes]:
    """The members of each part. What says why a call ended is in the part that removes it."""
    room = LINE_BYTES - ENVELOPE_BYTES
    rest = iter(ended)
    over = next(rest, None)
    size = 0
    some: list[bytes] = []
    ends: list[bytes] = []
    for piece in calls:
        name, _, tail = piece.rpartition(b":null")  # no tail: it removes the call of this name
        why = over if over is not None and not tail and over.startswith(name) else None
        needed = len(piece) + 1 + (len(why) + 1 if why is not None else 0)
        if size + needed > room and some:
            yield _members(some, ends)
            size, some, ends = 0, [], []
        size += needed
        some.append(piece)
        if why is not None:
            ends.append(why)
            over = next(rest, None)
    yield _members(some, ends)
