"""Sorts the problems of a message into the contract's reasons, and repairs what can be repaired.

:mod:`livestate.contract.parse` calls this for a message that failed validation. A text for people
may be too long or hold half a surrogate pair: it is cut, or the half is replaced. Pure.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from pydantic import ValidationError

from livestate.contract.errors import Rejected
from livestate.contract.quality import FIGURES
from livestate.contract.sip_address import without_password

MAX_DISPLAY_CHARS: Final = 256  # text for people; longer is cut, never a reason to lose a call
SPACED_COLON: Final = re.compile(rb'"[ \t\r\n]+:')
DISPLAY_FIELDS: Final = frozenset({"from", "to", "from_uri", "to_uri", "sip_reason", "detail"})
URI_FIELDS: Final = frozenset({"from_uri", "to_uri"})
_LONGEST_NUMBER: Final = 400  # digits; Python refuses to read 4,300, and JSON sets no limit
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DEPTH: Final = 4  # message, list of calls, call, value: a list has nothing deeper

_REASON_OF: Final = {
    "json_invalid": "not_json",
    "missing": "missing_field",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "string_too_short": "out_of_range",
    "too_short": "out_of_range",
    "string_pattern_mismatch": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "literal_error": "out_of_range",
    "int_parsing_size": "out_of_range",
    "union_tag_invalid": "phase_mismatch",
    "union_tag_not_found": "missing_field",
}


def without_surrogates(text: str) -> str:
    """Halves of surrogate pairs, which UTF-8 cannot hold, as U+FFFD; whole pairs as one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def first_problem(error: ValidationError) -> Rejected:
    return _rejected(_errors(error)[0])


def mendable(data: bytes, error: ValidationError, *, listed: bool) -> Any:
    """The message as plain values, with text for people cut and half surrogate pairs replaced. A
    bad figure of the quality is still there: the caller removes it.

    ``listed``: it is a part of a list, and the caller validates each item. Raises
    :class:`~livestate.contract.errors.Rejected` if it has another problem.
    """
    for one in _errors(error):
        if not (_may_be_mended(one) or (listed and _is_of_an_item(one))):
            raise _rejected(one)
    try:
        if listed:
            return _trim(json.loads(data, parse_int=_integer), deepest=_DEPTH)
        return _trim(json.loads(data))
    except (ValueError, RecursionError) as broken:
        raise Rejected("not_json", str(broken)[:200]) from None


def _may_be_mended(error: Any) -> bool:
    kind, loc = error["type"], error["loc"]
    if kind == "json_invalid":
        # A lone half of a surrogate pair ("\\ud800"): the parser calls it a bad hex escape.
        return "hex escape" in error["msg"]
    if loc and loc[-1] in FIGURES:
        return True
    return kind == "string_too_long" and bool(loc) and loc[-1] in DISPLAY_FIELDS


def _is_of_an_item(error: Any) -> bool:
    # A number of thousands of digits and a value nested too deep make JSON invalid for the parser.
    # In a list only one item may hold them.
    if error["type"] == "json_invalid":
        return any(words in error["msg"] for words in ("out of range", "recursion"))
    loc = error["loc"]
    return loc[:2] in (("sync", "calls"), ("copies", "calls")) and len(loc) > 2


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else math.inf


_DECODER: Final = json.JSONDecoder(parse_int=_integer, strict=False)


def _trim(value: Any, field: str = "", *, deepest: int | None = None) -> Any:
    if isinstance(value, str):
        text = without_surrogates(value)
        if field in URI_FIELDS:
            text = without_password(text)
        return text[:MAX_DISPLAY_CHARS] if field in DISPLAY_FIELDS else text
    if not isinstance(value, dict | list):
        return value
    if deepest == 1:
        return []  # no field of the contract takes it, and an unknown field is ignored
    left = None if deepest is None else deepest - 1
    if isinstance(value, dict):
        return {key: _trim(inner, key, deepest=left) for key, inner in value.items()}
    return [_trim(inner, deepest=left) for inner in value]


def _rejected(error: Any) -> Rejected:
    return _reject(error["type"], error["loc"], error["msg"])


def _reject(kind: str, loc: tuple[int | str, ...], message: str) -> Rejected:
    where = ".".join(str(part) for part in loc)
    if loc[-1:] == ("v",) and kind != "missing":
        return Rejected("unsupported_version", message)
    return Rejected(_REASON_OF.get(kind, "wrong_type"), f"{where}: {message}"[:200])


def refuse_repeated_keys(data: bytes) -> None:
    """Raise :class:`~livestate.contract.errors.Rejected` for an object with one key twice: two
    readers of it may read two different events."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Rejected("duplicate_keys")
        return found

    try:
        json.loads(data, object_pairs_hook=unique)
    except (ValueError, RecursionError) as broken:
        raise Rejected("not_json", str(broken)[:200]) from None


def items_of(data: bytes, most: int) -> list[tuple[Any, bytes]]:
    """The items of a JSON array of at most ``most``, each as a value and as its own bytes.

    Raises :class:`~livestate.contract.errors.Rejected` if it is no such array.
    """
    items: list[tuple[Any, bytes]] = []
    try:
        text = data.decode()
        at = _after_space(text, 0)
        if text[at : at + 1] != "[":
            raise Rejected("wrong_type", "no list of events")
        separator = "["
        while separator in ("[", ","):
            if len(items) == most:
                raise Rejected("too_long", f"more than {most} events")
            at = _after_space(text, at + 1)
            value, end = _DECODER.raw_decode(text, at)
            items.append((value, text[at:end].encode()))
            at = _after_space(text, end)
            separator = text[at : at + 1]
        if separator != "]" or _after_space(text, at + 1) != len(text):
            raise Rejected("not_json", "no end of the list of events")
    except (ValueError, RecursionError) as broken:
        raise Rejected("not_json", str(broken)[:200]) from None
    return items


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at


def _errors(error: ValidationError) -> list[Any]:
    return error.errors(include_url=False, include_context=False, include_input=False)
