"""Translates Kamailio's evapi frames to messages of the contract, for the bridge and ``replay``.

A frame is the JSON object that ``deploy/kamailio`` sends (events, heartbeats, marks) or an answer
of Kamailio's JSON-RPC to ``dlg.list``. The guarantee: any frame gives messages of the contract or
raises :class:`BadFrame`, and one bad dialog of a list is left out alone. The special cases were
each seen on a real Kamailio 5.6; ``captures/README.md`` says how. Pure.
"""

from __future__ import annotations

import contextlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from livestate.bridge.kamailio.fields import (
    company_and_trunk,
    dialog_name,
    dialogs_up,
    envelope,
    owning_node,
    quality,
    times,
    uris,
    whole,
)
from livestate.bridge.kamailio.identity import UNREADABLE, call_id, parties
from livestate.bridge.kamailio.outcome import outcome
from livestate.bridge.kamailio.variables import MAX_ATTEMPT, Variables, number, text, variables_of
from livestate.contract.errors import LivestateError
from livestate.contract.events import CausedBy
from livestate.contract.messages import Message, Outgoing, copies, message_for, sync
from livestate.contract.validation import MAX_DISPLAY_CHARS

# What a frame of any shape may raise: JSON holds 1e999, integers of any length, and values of any
# type where another one is expected.
_MALFORMED: Final = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
# ids of other questions that the source asks
_OTHER_ANSWERS: Final = (
    "livestate-ends",
    "livestate-livestate_failed",
    "livestate-livestate_refused",
    "livestate-kept",
)
_DELETED: Final = 5  # dialog state: dlg.list shows dialogs that are over for some seconds
_CONFIRMED: Final = 3  # dialog states: 3 confirmed, 4 confirmed and acknowledged

_PHASE_OF: Final[Mapping[str, str]] = {
    "setup": "setup", "ringing": "ringing", "early_media": "early_media", "reroute": "reroute",
    "answered": "answered", "hold": "hold", "resume": "resume", "transfer": "transfer",
    "ended": "ended", "failed": "failed", "timeout": "notice", "transfer_result": "notice",
}  # fmt: skip
_NOTICE: Final = {"timeout": "dialog lifetime over", "transfer_result": "transfer"}
_TEXTS: Final = ("sip_reason", "detail")
_HELD: Final = ("caller", "callee", "both", "1")  # by whom; 1 in old captures
_RANG_LAST: Final = "2"  # it rang after early media
_CAUSED_BY: Final = get_args(CausedBy)
_TIMES: Final = {"ts_setup": "setup_at", "ts_progress": "progress_at", "ts_answer": "answered_at"}


class BadFrame(LivestateError):
    """A frame that cannot be translated; the feed goes on with the next."""


# A list takes three frames: a mark before it (``snapshot_begin``, with the number at which the list
# is true), the answer to ``dlg.list``, and a mark behind it. The list of dialogs is kept until the
# second mark shows that no frame between them was lost.
class KamailioFeed:
    """Translates one Kamailio's frames in the order they came. The only state is the list that is
    being received.

    ``reject(reason)`` is called for each dialog that cannot be listed: the list is sent without it
    and counts it as unlisted.
    """

    def __init__(self, reject: Callable[[str], None] = lambda reason: None) -> None:
        self._reject = reject
        self._mark: Message | None = None
        self._list: _List | None = None
        self._lists = 0
        self._had_copies = False  # the list before had dialogs of other nodes

    def feed(self, frame: object) -> list[Outgoing]:
        """The messages of one frame: mostly one, sometimes none. Raises :class:`BadFrame`, and
        nothing else, whatever the frame holds."""
        if not isinstance(frame, dict):
            raise BadFrame(f"a {type(frame).__name__} is no frame")
        if "jsonrpc" in frame:
            return self._answered(frame)
        kind = frame.get("ev")
        try:
            if kind == "heartbeat":
                return [message_for("heartbeat", envelope(frame) | dialogs_up(frame))]
            if kind == "snapshot_begin":
                self._mark, self._list = envelope(frame), None
                return []
            if kind == "snapshot_end":
                return self._listed()
            if isinstance(kind, str) and kind in _PHASE_OF:
                return [_call_event(kind, frame)]
        except _MALFORMED as error:
            raise BadFrame(f"{kind}: {type(error).__name__}: {error}"[:300]) from None
        raise BadFrame(f"unknown event {str(kind)[:40]!r}")

    def answer(self, dialogs: Iterable[Any]) -> Iterator[None]:
        """Translate the answer to ``dlg.list``, one dialog a step: between two steps a caller may
        give the event loop a turn. Raises what ``dialogs`` raises; then there is no list."""
        if self._mark is None:
            return  # no mark announced this answer
        listed = _List()
        for dialog in dialogs:
            self._translate(dialog, self._mark["node"], listed)
            yield
        self._list = listed

    def _answered(self, frame: Message) -> list[Outgoing]:
        result = frame.get("result")
        if self._mark is None or frame.get("id") in _OTHER_ANSWERS:
            return []
        if not isinstance(result, list):
            self._mark = None
            raise BadFrame(f"dlg.list failed: {str(frame.get('error'))[:100]}")
        for _ in self.answer(result):
            pass
        return []

    def _translate(self, dialog: Any, node: str, listed: _List) -> None:
        try:
            if isinstance(dialog, dict) and dialog.get("state") == _DELETED:
                return
            call = _listed_call(dialog)
            if owner := owning_node(variables_of(dialog).get("node"), node):
                listed.copied.append(call | {"owner": owner})
            else:
                listed.calls.append(call)
        except _MALFORMED as error:
            listed.unlisted += 1
            self._reject(f"{_description(dialog)} of {node}: {type(error).__name__}: {error}")

    def _listed(self) -> list[Outgoing]:
        mark, listed = self._mark, self._list
        self._mark = self._list = None
        if mark is None or listed is None:
            raise BadFrame("the end of a list that did not begin")
        self._lists += 1
        # With the time: a restarted bridge counts its lists from one again.
        name = f"{mark['epoch']}-{mark['seq']}-{mark['ts']}-{self._lists}"
        messages = list(sync(mark, name, listed.calls, unlisted=listed.unlisted))
        if listed.copied or self._had_copies:  # an empty list as well, when the last copy is gone
            messages.append(copies(mark, name, listed.copied, unlisted=listed.unlisted))
        self._had_copies = bool(listed.copied)
        return messages


@dataclass(slots=True)
class _List:
    """The dialogs in an answer to ``dlg.list``; ``unlisted`` counts those that cannot be listed."""

    calls: list[Message] = field(default_factory=list)
    copied: list[Message] = field(default_factory=list)
    unlisted: int = 0


def _description(dialog: object) -> str:
    """How an engineer finds a dialog of a list again."""
    if not isinstance(dialog, dict):
        return f"a dialog that is {str(dialog)[:40]!r}"
    names = (f"{name}={str(dialog.get(name))[:80]!r}" for name in ("h_entry", "h_id", "call-id"))
    return f"dialog {' '.join(names)}"


def _call_event(kind: str, frame: Message) -> Outgoing:
    message = envelope(frame)
    frame = frame | _from_base64(frame)
    if "h_id" in frame:  # a call that the proxy refused has no dialog: it was never live
        message["dialog"] = dialog_name(frame)
    if owner := owning_node(text(frame.get("owner")), message["node"]):
        message["owner"] = owner
    # Kamailio leaves out a Call-ID that is not UTF-8.
    message["call_id"] = call_id(frame.get("call_id", UNREADABLE), message.get("dialog", "none"))
    for name in _TEXTS:
        if value := text(frame.get(name)):
            message[name] = value[:MAX_DISPLAY_CHARS]
    message |= uris(frame)
    if frame.get("by") in _CAUSED_BY:
        message["by"] = frame["by"]
    get = frame.get
    message |= company_and_trunk(get("company_id"), get("trunk"), get("direction"))
    message |= times({name: get(raw) for raw, name in _TIMES.items()})
    if attempt := number(get("attempt"), 1, MAX_ATTEMPT):
        message["attempt"] = attempt
    if code := number(get("sip_code"), 100, 699):
        message["sip_code"] = code
    message |= quality(frame)
    message |= parties(get("from_uri"), text(get("ruri_user")), get("to_uri"))
    phase = _PHASE_OF[kind]
    if phase in ("ended", "failed"):
        message["ended_at"] = message["ts"]
        message["outcome"] = outcome(phase, message)
    if phase == "notice":
        message["detail"] = " ".join(filter(None, (_NOTICE[kind], text(get("detail")))))
    return message_for(phase, message)


def _from_base64(frame: Message) -> Message:
    """URIs that are not UTF-8, which JSON cannot carry, decoded like those of a list: U+FFFD stands
    for each invalid byte."""
    found: Message = {}
    for name in ("from_uri", "to_uri", "ruri_user"):
        if encoded := text(frame.get(f"{name}_base64")):
            with contextlib.suppress(ValueError):
                found[name] = b64decode(encoded).decode("utf-8", "replace")
    return found


def _listed_call(dialog: Message) -> Message:
    """One dialog of ``dlg.list``. Its variables hold what the script knows of it."""
    variables = variables_of(dialog)
    name = dialog_name(dialog)
    call: Message = {
        "dialog": name,
        "call_id": call_id(dialog.get("call-id", UNREADABLE), name),
        "state": _state(whole(dialog["state"], _DELETED), variables),
    }
    if "hold" in variables:
        call["held"] = variables["hold"] in _HELD
    get = variables.get
    call |= company_and_trunk(get("company"), get("trunk"), get("direction"))
    call |= times({name: get(name) for name in _TIMES.values()})
    if attempt := number(get("attempt"), 1, MAX_ATTEMPT):
        call["attempt"] = attempt
    call |= uris(dialog)
    call |= quality(variables)
    return call | parties(dialog.get("from_uri"), get("dialled"), dialog.get("to_uri"))


def _state(dialog_state: int, variables: Variables) -> str:
    if dialog_state >= _CONFIRMED:
        return "held" if variables.get("hold") in _HELD else "answered"
    if "early_media" in variables and variables.get("ringing") != _RANG_LAST:
        return "early"
    return "ringing" if "ringing" in variables else "trying"
