"""Takes out of a node's list the items that say what the table already holds.

A list of 50,000 dialogs comes at each start and then every 30 to 60 s, and nearly all of its items
bring nothing new. To compare an item with its call takes less than to validate it and to find out
that it changes nothing (``docs/performance.md``). So
:class:`~livestate.ingest.dialog_lists.DialogLists` asks :func:`without_known` first, and only what
is left of the message is parsed.

This is a first look and judges nothing. An item counts as known only if it has the usual fields,
each of the right type and within the contract's limits, and its call is live, confirmed and equal
to it in all that it says. Everything else stays in the message, and
:func:`livestate.contract.parse.parse` remains the judge: ``tests/unit/ingest/test_known_items.py``
holds both ways side by side. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias, get_args

import orjson

from livestate.contract.events import (
    MAX_CALL_ID_CHARS,
    MAX_CALLS_A_PART,
    MAX_MESSAGE_BYTES,
    MAX_NAME_CHARS,
    Direction,
)
from livestate.contract.states import LIVE_STATES
from livestate.contract.validation import MAX_DISPLAY_CHARS
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.call_fields import WIRE_NAMES, Attributes
from livestate.state.position import position_at

# (node, time of the message) → the latest time that its calls may have (ms); None if the times of
# its calls cannot be taken as they stand.
LatestOf: TypeAlias = Callable[[str, int], int | None]
MOST: Final = 2**53 - 1  # the contract's largest number

NONE_KNOWN: Final[Mapping[str, Call]] = {}

_ENVELOPE: Final = {
    "v": int, "node": str, "epoch": int, "seq": int, "ts": int, "phase": str, "sync_id": str,
    "part": int, "parts": int, "calls": list,
}  # fmt: skip
_NUMBERS: Final = ("attempt", "setup_at", "progress_at", "answered_at")
_LONGEST: Final = {
    "call_id": MAX_CALL_ID_CHARS, "dialog": MAX_NAME_CHARS, "company_id": MAX_NAME_CHARS,
    "trunk": MAX_NAME_CHARS, "from": MAX_DISPLAY_CHARS, "to": MAX_DISPLAY_CHARS,
}  # fmt: skip
_NEEDED: Final = frozenset({"call_id", "dialog", "state"})
_USUAL: Final = frozenset({*_NEEDED, *_NUMBERS, *_LONGEST, "direction", "held"})
_DIRECTIONS: Final = frozenset({None, *get_args(Direction)})
_DIRECTION: Final = Attributes._fields.index("direction")
_COUNT: Final = len(Attributes._fields)
_MOST_SHAPES: Final = 1_000  # a node can make up any


class _Shape(NamedTuple):
    """Items with the same names in the same order. Indexes are those of their values."""

    attributes: Callable[[list[Any]], tuple[Any, ...]]  # of the values and one None behind them
    types: tuple[type, ...]
    texts: tuple[tuple[int, int], ...]  # (index, characters at most)
    numbers: tuple[int, ...]


_SHAPES: Final[dict[tuple[str, ...], _Shape | None]] = {}


def without_known(
    data: bytes, table: ActiveCalls, latest_of: LatestOf | None = None
) -> tuple[bytes, dict[str, Call]] | None:
    """The message of one part of a list without its known items, and their calls by key; None if
    there are none, or if anything about the message is unusual. Without ``latest_of`` all times
    are taken as they stand."""
    part = _usual_part(data)
    if part is None:
        return None
    node: str = part["node"]
    items: list[Any] = part["calls"]
    latest = MOST if latest_of is None else latest_of(node, part["ts"])
    if latest is None:
        return None
    latest = min(latest, MOST)
    position = position_at(part["epoch"], part["seq"], from_sync=True)
    known: dict[str, Call] = {}
    others: list[Any] = []
    named: set[str] = set()  # keys of the others
    for item in items:
        if type(item) is not dict:
            return None
        dialog, call_id = item.get("dialog"), item.get("call_id")
        if type(dialog) is not str or type(call_id) is not str:
            return None
        key = table.key_of(node, dialog, call_id)
        if key in known or key in named:
            return None  # the second one is judged by what the first one does
        call = table.calls.get(key)
        if (
            call is not None
            and _tells(item, call, latest)
            and call.position <= position
            and not call.unconfirmed
        ):
            known[key] = call
            continue
        for value in item.values():
            # orjson reads an integer of more than 64 bits as this, and pydantic as an integer.
            if type(value) is float and not -MOST < value < MOST:
                return None
        named.add(key)
        others.append(item)
    if not known:
        return None
    part["calls"] = others
    try:
        return orjson.dumps(part), known
    except orjson.JSONEncodeError:  # nested too deep
        return None


def _usual_part(data: bytes) -> dict[str, Any] | None:
    """The message, if it is one part of a list as bridges send it."""
    if len(data) > MAX_MESSAGE_BYTES:
        return None
    try:
        part: dict[str, Any] = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if type(part) is not dict:
        return None
    for name, kind in _ENVELOPE.items():
        if type(part.get(name)) is not kind:
            return None
    if not (0 <= part["epoch"] <= MOST and 0 <= part["seq"] <= MOST):
        return None
    return part if len(part["calls"]) <= MAX_CALLS_A_PART else None


def unchanged(table: ActiveCalls, known: Mapping[str, Call]) -> bool:
    """Whether these calls are still what the table holds."""
    calls = table.calls
    return all(calls.get(key) is call for key, call in known.items())


def _tells(item: dict[str, Any], call: Call, latest: int) -> bool:
    """Whether an item is usual, and tells of its call what is known."""
    names = tuple(item)
    shape = _SHAPES[names] if names in _SHAPES else _shape(names)
    if shape is None or item["state"] != call.state or call.state not in LIVE_STATES:
        return False
    values = list(item.values())
    if tuple(map(type, values)) != shape.types:
        return False
    for at, most in shape.texts:
        if not 0 < len(values[at]) <= most:
            return False
    for at in shape.numbers:
        if not 0 <= values[at] <= latest:
            return False
    values.append(None)
    carried = shape.attributes(values)
    if carried[_DIRECTION] not in _DIRECTIONS:
        return False
    if carried == call.attributes:
        return True
    pairs = zip(carried, call.attributes)  # noqa: B905 - of equal length
    return all(new is None or new == old for new, old in pairs)


def _shape(names: tuple[str, ...]) -> _Shape | None:
    """The shape of items with these names; None if they are not the usual ones."""
    shape = None
    if _NEEDED.issubset(names) and _USUAL.issuperset(names):
        places = {name: at for at, name in enumerate(names)}
        none = len(names)
        picked = [places.get(name, none) for name in WIRE_NAMES]
        picked = [*picked[: _COUNT - 1], none]  # the last attribute is the quality
        types = [bool if one == "held" else int if one in _NUMBERS else str for one in names]
        shape = _Shape(
            itemgetter(*picked),
            tuple(types),
            tuple([(at, _LONGEST[name]) for name, at in places.items() if name in _LONGEST]),
            tuple([at for name, at in places.items() if name in _NUMBERS]),
        )
    if len(_SHAPES) >= _MOST_SHAPES:
        _SHAPES.clear()
    _SHAPES[names] = shape
    return shape
