"""Encodes a call as Redis stores it, one JSON object per call, and decodes it.

The projection writes with :func:`encode`, the loader reads with :func:`decode`. The records are
readable JSON because operators look at them, and they are checked when they are read because
operators also edit them: a record that cannot become a call raises, and a number that no node or
view can have produced is replaced.

The field names are older than the names in the code: ``stamp`` is the call's position, ``marks``
are the records of its phase log, ``older`` the positions of its older attributes
(``older_figures``: of older figures of its quality), ``v`` its versions. Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, NamedTuple, cast

import orjson

from livestate.contract.errors import SnapshotUnusable
from livestate.contract.quality import FIGURES, problem
from livestate.state.call import Call, new, rebuild
from livestate.state.call_fields import FIELDS, UNMEASURED, WIRE_NAMES, Attributes
from livestate.state.phase_log import (
    LAST_FROM,
    LAST_TO,
    SHIFTED,
    PhaseLog,
    first_at,
    log_of,
    numbers_in,
    pack,
)
from livestate.state.position import NOWHERE, Position, position_at, unpack

MOST: Final = 2**53 - 1  # the contract's largest number; only an edit makes a larger one
MOST_VERSION: Final = 10**15  # leaves room below MOST for counting on

_WIRE: Final = WIRE_NAMES[: -len(FIGURES)]  # of the attributes before the quality
_NUMBERS: Final = frozenset(
    {"attempt", "setup_at", "progress_at", "answered_at", "ended_at", "sip_code"}
)
_SHARED: Final = frozenset({"company_id", "direction", "trunk", "by", "outcome", "sip_reason"})
_NUMBERS_AT: Final = tuple(at for at, name in enumerate(_WIRE) if name in _NUMBERS)
_SHARED_AT: Final = tuple(at for at, name in enumerate(_WIRE) if name in _SHARED)
_GOOD_TYPES: Final[set[tuple[type, ...]]] = set()
_WIRE_SET: Final = frozenset(_WIRE)
_intern: Final = sys.intern
# Interned: all calls share one object for each name.
_NAMES: Final = {name: name for name in FIELDS}


def score(call: Call) -> int:
    """The score of a call in the sorted set ``active_calls`` (ms): the time of its setup, or the
    earliest time that is known of it."""
    setup_at = call.attributes.setup_at
    return setup_at if setup_at is not None else first_at(call.phase_log)


def encode(call: Call, versions: dict[str, int]) -> bytes:
    """One call, with the version at which it last changed in each scope ("" is all calls)."""
    positions = unconfirmed = None
    if call.rare is not None:
        positions, unconfirmed = call.attribute_positions, call.unconfirmed
    stored: dict[str, Any] = {
        "state": call.state,
        "node": call.node,
        "dialog": call.dialog,
        "call_id": call.call_id,
        "stamp": unpack(call.position),
        "marks": numbers_in(call.phase_log),
        "v": versions,
    }
    if positions:
        older = {name: unpack(position) for name, position in positions.items()}
        figures = {name: older.pop(name) for name in FIGURES if name in older}
        if older:
            stored["older"] = older
        if figures:  # apart: version 0.1 reads no record with other names in "older"
            stored["older_figures"] = figures
    if unconfirmed is not None:
        stored["unconfirmed"] = unconfirmed
    attributes = call.attributes
    for name, value in zip(_WIRE, attributes):  # noqa: B905 - the last one follows
        if value is not None:
            stored[name] = value
    if attributes.quality is not None:
        figures_of = zip(FIGURES, attributes.quality, strict=True)
        stored |= {name: value for name, value in figures_of if value is not None}
    return orjson.dumps(stored)


def decode(key: str, data: bytes) -> tuple[Call, dict[str, int]]:
    """The call and its versions.

    The state is computed from the phase records, so an edit of ``state`` has no effect. A position
    that no node can reach is replaced by the lowest: otherwise the call would be later than every
    list of its node and never end. A version that no view can reach is left out: otherwise the
    view would count on with numbers that no browser can hold.

    Raises :class:`~livestate.contract.errors.SnapshotUnusable`.
    """
    try:
        stored = orjson.loads(data)
        found = _usual(key, stored) if type(stored) is dict else None
        return _checked(key, stored) if found is None else found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnusable(key, f"{type(error).__name__}: {error}"[:200]) from None


def _checked(key: str, stored: Any) -> tuple[Call, dict[str, int]]:
    """The call of any record, however it was edited. Raises what an unusable one leads to."""
    attributes = _attributes(list(map(stored.get, _WIRE)), stored)
    log, latest = _phase_log(stored["marks"])
    positions = stored.get("older")
    if (figures := stored.get("older_figures")) is not None:
        positions = (positions or {}) | figures
    if positions is not None:
        positions = {_NAMES[name]: _position(*parts) for name, parts in positions.items()}
    if not log:
        raise ValueError("no marks")
    versions = stored["v"]
    for version in versions.values():
        if type(version) is not int or not 0 <= version < MOST_VERSION:
            versions = _believable(versions)
            break
    position = _position(*stored["stamp"])
    position = max(position, latest)  # a call is at least as late as its records
    unconfirmed = _flag(stored.get("unconfirmed"))
    call = rebuild(
        key,
        sys.intern(stored["node"]),
        _text(stored["dialog"]),
        _text(stored["call_id"]),
        position,
        log,
        positions or None,
        unconfirmed,
        attributes,
    )
    return call, versions


# A start reads tens of thousands of records, and nearly all have the same few sets of names: those
# that :func:`encode` writes for a call without older attributes, marks or figures of the quality.
# Where the names and the types of the values are known, a record needs no look-up for each name
# that it might have. What is odd in any way is left to :func:`_checked`, and both agree
# (tests/unit/store/test_record.py).
class _Shape(NamedTuple):
    """Records with the same names in the same order. Indexes are those of their values."""

    attributes: Callable[[list[Any]], tuple[Any, ...]]  # of the values and one None behind them
    numbers: tuple[int, ...]
    shared: tuple[int, ...]
    types: tuple[type, ...]  # of the values, each as encode() writes it


_HEAD: Final = ("state", "node", "dialog", "call_id", "stamp", "marks", "v")
_HEAD_TYPES: Final = (str, str, str, str, list, list, dict)
_SHAPES: Final[dict[tuple[str, ...], _Shape | None]] = {}
_MOST_SHAPES: Final = 1_000  # an operator can make up any


def _shape(names: tuple[str, ...]) -> _Shape | None:
    """The shape of records with these names; None if they are not the usual ones."""
    shape = None
    if names[: len(_HEAD)] == _HEAD and _WIRE_SET.issuperset(names[len(_HEAD) :]):
        places = {name: at for at, name in enumerate(names)}
        rest = names[len(_HEAD) :]
        shape = _Shape(
            itemgetter(*(places.get(name, len(names)) for name in _WIRE), len(names)),
            tuple(places[name] for name in rest if name in _NUMBERS),
            tuple(places[name] for name in ("node", *rest) if name == "node" or name in _SHARED),
            (*_HEAD_TYPES, *(int if name in _NUMBERS else str for name in rest)),
        )
    if len(_SHAPES) >= _MOST_SHAPES:
        _SHAPES.clear()
    _SHAPES[names] = shape
    return shape


def _usual(key: str, stored: dict[str, Any]) -> tuple[Call, dict[str, int]] | None:
    """The call of a record of a usual shape; None if anything about the record is unusual."""
    names = tuple(stored)
    shape = _SHAPES[names] if names in _SHAPES else _shape(names)
    if shape is None:
        return None
    values = list(stored.values())
    pick, numbers, shared, types = shape
    if tuple(map(type, values)) != types:
        return None
    for at in numbers:
        if not 0 <= values[at] <= MOST:
            return None
    for at in shared:
        values[at] = _intern(values[at])
    _, node, dialog, call_id, stamp, marks, versions = values[:7]
    log = last = b""
    for (epoch, seq, from_sync), phase, at in marks:
        if not type(epoch) is type(seq) is type(from_sync) is type(at) is int:
            return None
        if not 0 <= epoch | seq | at <= MOST or not 0 <= from_sync <= 1:
            return None
        record = pack(epoch, seq << 1 | from_sync, SHIFTED[phase] | at)
        if record <= last:
            return None
        log, last = log + record, record
    position = _position(*stamp)
    if position != log[LAST_FROM:LAST_TO]:
        return None
    for version in versions.values():
        if type(version) is not int or not 0 <= version < MOST_VERSION:
            return None
    values.append(None)
    attributes = new(Attributes, pick(values))
    call = rebuild(key, node, dialog, call_id, position, log, None, None, attributes)
    return call, versions


def _position(epoch: Any, seq: Any, from_sync: Any) -> Position:
    if not type(epoch) is type(seq) is type(from_sync) is int or epoch | seq | from_sync < 0:
        raise ValueError(f"{[epoch, seq, from_sync]} is no position")
    if epoch | seq > MOST or from_sync > 1:
        return NOWHERE
    return position_at(epoch, seq, from_sync == 1)


def _phase_log(stored: Any) -> tuple[PhaseLog, Position]:
    """The phase log that was stored, and the latest position of its phases but "lost"."""
    # Spelled out for speed: a start reads several records for each of tens of thousands of calls.
    records: list[bytes] = []
    edited = False
    latest = NOWHERE
    for (epoch, seq, from_sync), phase, at in stored:
        if (
            not type(epoch) is type(seq) is type(from_sync) is type(at) is int
            or (epoch | seq | from_sync | at) < 0
        ):
            raise ValueError(f"{[epoch, seq, from_sync, at]} is no phase record")
        if epoch | seq | at > MOST or from_sync > 1:
            edited = True
            position, at = _position(epoch, seq, from_sync), min(at, MOST)
        else:
            position = position_at(epoch, seq, from_sync == 1)
        records.append(log_of(position, phase, at))
        if position > latest and phase != "lost":
            latest = position
    return b"".join(sorted(records) if edited else records), latest


def _believable(versions: dict[str, Any]) -> dict[str, int]:
    """The versions without edited ones. The table treats the call as just changed where its version
    is missing."""
    return {
        company: version
        for company, version in versions.items()
        if type(version) is int and 0 <= version < MOST_VERSION
    }


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


def _attributes(values: list[Any], stored: dict[str, Any]) -> Attributes:
    """The attributes of a call: each is None, or a number or text as its field requires. A figure
    of the quality that is none is unknown."""
    types = tuple(map(type, values))
    if types not in _GOOD_TYPES:
        for name, value in zip(_WIRE, values, strict=True):
            if value is not None:
                (_whole if name in _NUMBERS else _text)(value)
        _GOOD_TYPES.add(types)  # most calls have the types of many others
    for at in _NUMBERS_AT:
        if (number := values[at]) is not None and not 0 <= number <= MOST:
            if number < 0:
                raise ValueError(f"{number} is not a whole number")
            values[at] = None
    for at in _SHARED_AT:
        if (text := values[at]) is not None:
            values[at] = sys.intern(text)
    figures = tuple(map(stored.get, FIGURES))
    if figures == UNMEASURED:
        return new(Attributes, [*values, None])
    pairs = zip(FIGURES, figures, strict=True)
    good = tuple(None if problem(name, value) else value for name, value in pairs)
    return new(Attributes, [*values, None if good == UNMEASURED else good])
