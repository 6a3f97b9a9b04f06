"""Messages of the contract as a bridge builds them: lists of dialogs, CDRs, and old messages moved
to another time. Pure; :mod:`livestate.contract.events` says what a message is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from livestate.contract.events import CDR_SUBJECT, MAX_CALL_ID_CHARS, SUBJECT_PREFIX

Message: TypeAlias = dict[str, Any]


class Outgoing(NamedTuple):
    """A message of the contract and where it goes."""

    subject: str
    message: Message


def sync(
    envelope: Message, sync_id: str, calls: list[Message], *, unlisted: int = 0
) -> Iterator[Outgoing]:
    """A complete list as one ``sync`` message, however long: what encodes it cuts it into parts
    (:mod:`livestate.contract.encoding`). ``unlisted``: dialogs that could not be put into it."""
    payload = {"sync_id": sync_id, "part": 1, "parts": 1, "calls": calls}
    if unlisted:
        payload["unlisted"] = unlisted
    yield message_for("sync", envelope | payload)


def copies(envelope: Message, sync_id: str, calls: list[Message], *, unlisted: int = 0) -> Outgoing:
    """The node's copies of other nodes' dialogs; cut into parts as a list is. ``unlisted``: dialogs
    that could not be put into either list."""
    payload = {"sync_id": sync_id, "part": 1, "parts": 1, "calls": calls}
    if unlisted:
        payload["unlisted"] = unlisted
    return message_for("copies", envelope | payload)


def with_cdrs(messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
    """The messages, and behind each end of a call its CDR: the same event, stored durably."""
    for outgoing in messages:
        yield outgoing
        if has_cdr(outgoing.message):
            yield Outgoing(CDR_SUBJECT, outgoing.message)


def has_cdr(message: Message) -> bool:
    """Whether it is the end of a call. A challenged INVITE was none: the call comes again."""
    return message.get("phase") in ("ended", "failed") and message.get("outcome") != "challenged"


def message_for(phase: str, message: Message) -> Outgoing:
    return Outgoing(SUBJECT_PREFIX + phase, message | {"phase": phase})


def relived(message: Message, move: Callable[[int], int], epoch: int, suffix: str = "") -> Message:
    """A message as if it happened at another time (``move``, ms to ms), in another epoch, with
    other Call-IDs: so that an old capture can be replayed."""
    again = dict(message)
    for name in ("ts", "setup_at", "progress_at", "answered_at", "ended_at"):
        if name in again:
            again[name] = move(again[name])
    if "epoch" in again:
        again["epoch"] = epoch
    if "call_id" in again:
        again["call_id"] = (again["call_id"] + suffix)[-MAX_CALL_ID_CHARS:]
    if "calls" in again:
        again["calls"] = [relived(call, move, epoch, suffix) for call in again["calls"]]
    return again
