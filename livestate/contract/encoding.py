"""Messages of the contract as bytes that NATS and livestate take: cut, shortened, checked.

Every publisher encodes here: the bridge, ``simulate``, ``replay``. A message that is too long is
made shorter, never left out: a list is cut into parts by encoded bytes; the text for people of one
call is left out, from the longest way down to nothing. What comes out was read by
:func:`livestate.contract.parse.parse`, the function that the service reads it with.

``room`` is how many bytes a message may have: what the NATS server takes, and at most
:data:`livestate.contract.events.MAX_MESSAGE_BYTES`. With :data:`LEAST_ROOM` everything fits. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from livestate.contract.errors import LivestateError, Rejected
from livestate.contract.events import (
    CDR_SUBJECT,
    LIST_PHASES,
    MAX_CALLS_A_PART,
    MAX_MESSAGE_BYTES,
    MAX_PARTS,
)
from livestate.contract.messages import Message, Outgoing
from livestate.contract.parse import listed_problem, parse, parse_cdr
from livestate.contract.validation import DISPLAY_FIELDS, MAX_DISPLAY_CHARS, without_surrogates

# 256 characters of any script fit. What does not are characters that JSON writes as six bytes.
MAX_DISPLAY_BYTES: Final = 4 * MAX_DISPLAY_CHARS
LEAST_ROOM: Final = 4_096  # bytes; a call without text for people has at most about 2,000
_LEFT_OUT: Final = ("detail", "sip_reason", "to_uri", "from_uri", "to", "from")  # in this order
CALLS_A_STEP: Final = 50  # of a list: about 1 ms
_LARGEST: Final = 2**53 - 1
_SHORT_ESCAPES: Final = '"\\\b\t\n\f\r'


class Unsendable(LivestateError):
    """A message that livestate would reject, or that has no room. ``reason`` is one of
    ``contract``, ``too_large`` and ``too_many_parts``; ``size`` is in bytes."""

    def __init__(self, reason: str, size: int, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.size = size
        self.detail = detail


def encode(outgoing: Outgoing, room: int) -> bytes:
    """One message that is no list. Raises :class:`Unsendable`."""
    data = _fitted(outgoing.message, room)
    try:
        if outgoing.subject == CDR_SUBJECT:
            parse_cdr(data)
        else:
            parse(outgoing.subject, data)
    except Rejected as rejected:
        raise Unsendable("contract", len(data), str(rejected)) from None
    return data


def encode_list(
    outgoing: Outgoing, room: int, refuse: Callable[[str], None]
) -> Iterator[bytes | None]:
    """A ``sync`` or ``copies`` message with any number of calls, as the parts that fit; None now
    and then, where a caller with an event loop may let others have a turn.

    A call that livestate would refuse is left out, named to ``refuse``, and counted in the list's
    ``unlisted``: so no call ends by this list. Raises :class:`Unsendable` before the first part.
    """
    head = {name: value for name, value in outgoing.message.items() if name != "calls"}
    calls: list[Message] = outgoing.message["calls"]
    widest = head | {"part": MAX_PARTS, "parts": MAX_PARTS, "unlisted": _LARGEST}
    left = room - len(_dumps(widest | {"calls": []}))
    unlisted = head.pop("unlisted", 0)
    for fields in (_LEFT_OUT, ()):
        items: list[bytes] = []
        refused = 0
        for number, call in enumerate(calls, 1):
            if number % CALLS_A_STEP == 0:
                yield None
            try:
                items.append(_item(call, left, outgoing.message["phase"], keep=fields))
            except Unsendable as error:
                refused += 1
                if fields:  # else it was named before
                    refuse(
                        f"dialog {call.get('dialog')!r:.80} of {head.get('node')!r:.80}: {error}"
                    )
        parts = _cut(items, left)
        if len(parts) <= MAX_PARTS:
            break
    else:
        size = sum(map(len, items))
        raise Unsendable("too_many_parts", size, f"{len(calls)} calls in parts of {room} bytes")
    if unlisted := unlisted + refused:
        head["unlisted"] = unlisted
    for number, part in enumerate(parts, 1):
        begin = _dumps(head | {"part": number, "parts": len(parts)})[:-1]
        data = b'%b,"calls":[%b]}' % (begin, b",".join(part))
        if number == 1:  # the others differ in their calls, which were looked at one by one
            try:
                parse(outgoing.subject, data)
            except Rejected as rejected:
                raise Unsendable("contract", len(data), str(rejected)) from None
        yield data


def encoded(outgoing: Outgoing, room: int = MAX_MESSAGE_BYTES) -> Iterator[bytes]:
    """Any message of the contract as it is sent: one, or the parts of a list, without a pause.
    Raises :class:`Unsendable`."""
    if outgoing.message["phase"] in LIST_PHASES:
        yield from filter(None, encode_list(outgoing, room, lambda reason: None))
    else:
        yield encode(outgoing, room)


def cut_text(text: str) -> str:
    """Text for people within the contract's 256 characters and 1,024 bytes as JSON. Halves of
    surrogate pairs become U+FFFD; no character is cut in two."""
    if not text.isascii():
        text = without_surrogates(text[: 2 * MAX_DISPLAY_CHARS])
    return cut_encoded(text[:MAX_DISPLAY_CHARS], MAX_DISPLAY_BYTES)


def cut_encoded(text: str, most: int) -> str:
    """As much of ``text``, from its beginning, as has at most ``most`` bytes within JSON."""
    if 6 * len(text) <= most:
        return text
    size = 0
    for at, character in enumerate(text):
        size += _escaped(character)
        if size > most:
            return text[:at]
    return text


def _escaped(character: str) -> int:
    """How many bytes a character has in JSON (RFC 8259 §7, as orjson writes it)."""
    if character in _SHORT_ESCAPES:
        return 2
    return 6 if character < " " else len(character.encode())


def _item(call: Message, left: int, phase: str, *, keep: tuple[str, ...]) -> bytes:
    known = {name: value for name, value in call.items() if keep or name not in DISPLAY_FIELDS}
    data = _fitted(known, left)
    if (rejected := listed_problem(data, phase)) is not None:
        raise Unsendable("contract", len(data), str(rejected))
    return data


def _fitted(message: Message, room: int) -> bytes:
    """The message within ``room`` bytes, without as many of its texts as that takes."""
    message = {
        name: cut_text(value) if name in DISPLAY_FIELDS and isinstance(value, str) else value
        for name, value in message.items()
    }
    data = _dumps(message)
    for name in _LEFT_OUT:
        if len(data) <= room:
            break
        if message.pop(name, None) is not None:
            data = _dumps(message)
    if len(data) > room:
        raise Unsendable("too_large", len(data), f"{len(data)} bytes where {room} fit")
    return data


def _cut(items: list[bytes], left: int) -> list[list[bytes]]:
    """The calls in as few parts as their bytes and the contract's 200 allow; at least one part."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for item in items:
        size += len(item) + 1  # its comma
        if parts[-1] and (size > left or len(parts[-1]) == MAX_CALLS_A_PART):
            parts.append([])
            size = len(item) + 1
        parts[-1].append(item)
    return parts


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as error:  # half a surrogate pair, an integer of more than 64 bits
        if isinstance(value, dict):
            mended = {
                name: without_surrogates(one) if isinstance(one, str) else one
                for name, one in value.items()
            }
            if mended != value:
                return _dumps(mended)
        raise Unsendable("contract", 0, str(error)) from None
