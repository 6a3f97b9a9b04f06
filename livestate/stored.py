"""A call as it lies in Redis, and back. Readable JSON, because an engineer will look at it at
three in the morning; checked on the way back, because somebody may have edited it."""

from __future__ import annotations

import sys
from typing import Any, Final, cast

import orjson

from livestate.call import FACTS, PHASES, Call, Mark, Stamp, refold
from livestate.errors import SnapshotUnusable

_WIRE: Final = tuple({"caller": "from", "callee": "to"}.get(name, name) for name in FACTS)
_NUMBERS: Final = frozenset(
    {"attempt", "setup_at", "progress_at", "answered_at", "ended_at", "sip_code"}
)
_SHARED: Final = frozenset({"company_id", "direction", "trunk", "by", "outcome", "sip_reason"})
_SEQ: Final = (1 << 54) - 1


def score(call: Call) -> int:
    """Where a call stands in ``active_calls``: its setup, or the first we know of it (ms)."""
    return call.setup_at if call.setup_at is not None else call.marks[0].at


def encode(call: Call, versions: dict[str, int]) -> bytes:
    """One call with the versions at which its scopes last saw it ("" is all calls)."""
    _, node, dialog, call_id, state, stamp, marks, older, unconfirmed, *facts = call
    stored: dict[str, Any] = {
        "state": state, "node": node, "dialog": dialog, "call_id": call_id,
        "stamp": _split(stamp),
        "marks": [
            ((at_stamp >> 54, (at_stamp & _SEQ) >> 1, at_stamp & 1), phase, at)
            for at_stamp, phase, at in marks
        ],
        "v": versions,
    }  # fmt: skip
    if older:
        stored["older"] = {name: _split(told_at) for name, told_at in older.items()}
    if unconfirmed is not None:
        stored["unconfirmed"] = unconfirmed
    for name, told in zip(_WIRE, facts, strict=True):
        if told is not None:
            stored[name] = told
    return orjson.dumps(stored)


def decode(key: str, data: bytes) -> tuple[Call, dict[str, int]]:
    """The call and its versions. The state is folded anew from its marks: what somebody wrote
    into ``state`` by hand does not count.

    Raises :class:`~livestate.errors.SnapshotUnusable`.
    """
    try:
        stored = orjson.loads(data)
        facts = tuple(_fact(name, stored.get(name)) for name in _WIRE)
        marks = tuple(
            Mark(_joined(stamp), sys.intern(phase), _whole(at))  # type: ignore[arg-type]
            for stamp, phase, at in stored["marks"]
        )
        older = {name: _joined(stamp) for name, stamp in stored.get("older", {}).items()}
        if not all(mark.phase in PHASES for mark in marks):
            raise ValueError("a mark of an unknown phase")
        if not marks or not older.keys() <= set(FACTS):
            raise ValueError("no marks, or stamps of unknown facts")
        call = refold(
            (key, sys.intern(stored["node"]), _text(stored["dialog"]), _text(stored["call_id"])),
            _joined(stored["stamp"]), marks, older or None,
            _flag(stored.get("unconfirmed")), facts,
        )  # fmt: skip
        versions = {_text(scope): _whole(v) for scope, v in stored["v"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnusable(key, f"{type(error).__name__}: {error}"[:200]) from None
    return call, versions


def _split(stamp: Stamp) -> tuple[int, int, int]:
    """Epoch, number, and 1 for a list: a stamp has more than the 64 bits JSON parsers like."""
    return stamp >> 54, (stamp & _SEQ) >> 1, stamp & 1


def _joined(parts: Any) -> Stamp:
    epoch, seq, listed = parts
    return _whole(epoch) << 54 | _whole(seq) << 1 | _whole(listed)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{value!r} is not text")
    return value


def _flag(value: Any) -> bool | None:
    if value not in (None, True, False) or type(value) is int:
        raise ValueError(f"{value!r} is neither true nor false")
    return cast("bool | None", value)


def _fact(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _NUMBERS:
        return _whole(value)
    return sys.intern(_text(value)) if name in _SHARED else _text(value)
