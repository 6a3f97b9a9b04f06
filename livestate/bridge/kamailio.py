"""Kamailio's evapi frames to the contract: the one translation, for ``replay`` and the bridge.

A frame is the JSON object that ``deploy/kamailio`` sends (events, heartbeats, marks) or an answer
of Kamailio's JSON-RPC to ``dlg.list``. The traps that this file knows were each seen on a real
Kamailio 5.6; ``captures/README.md`` says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias, get_args
from urllib.parse import unquote

from livestate.errors import LivestateError
from livestate.events import (
    CDR_SUBJECT,
    MAX_CALL_ID_CHARS,
    MAX_DISPLAY_CHARS,
    MAX_NAME_CHARS,
    SUBJECT_PREFIX,
    Direction,
)

Message: TypeAlias = dict[str, Any]
CALLS_A_PART: Final = 200
_UNREADABLE: Final = "\ufffd"  # what decoding makes of bytes that are no UTF-8
_DELETED: Final = 5  # dlg.list keeps dialogs that are over for some seconds

_PHASE_OF: Final[Mapping[str, str]] = {
    "setup": "setup", "ringing": "ringing", "early_media": "early_media", "reroute": "reroute",
    "answered": "answered", "hold": "hold", "resume": "resume", "transfer": "transfer",
    "ended": "ended", "failed": "failed", "timeout": "notice", "transfer_result": "notice",
}  # fmt: skip
_NOTICE: Final = {"timeout": "dialog lifetime over", "transfer_result": "transfer"}

# How a call that was never answered ended, by its final response (RFC 3261 §21).
_OUTCOME_OF: Final[Mapping[int, str]] = {
    486: "busy", 600: "busy", 603: "declined", 607: "declined", 480: "unavailable",
    404: "invalid_number", 410: "invalid_number", 484: "invalid_number", 604: "invalid_number",
    500: "congestion", 502: "congestion", 503: "congestion", 504: "congestion",
    487: "canceled", 408: "no_answer",
}  # fmt: skip
_OUTCOME_BY: Final[Mapping[str, str]] = {
    "timeout_ringing": "no_answer", "timeout_no_reply": "no_reply",
}  # fmt: skip
_TEXT: Final = ("from_uri", "to_uri", "sip_reason", "detail")
_NAMES: Final = ("company_id", "trunk", "by")
_DIRECTIONS: Final = get_args(Direction)
_TIMES: Final = {"ts_setup": "setup_at", "ts_progress": "progress_at", "ts_answer": "answered_at"}


class BadFrame(LivestateError):
    """A frame that cannot be translated; the feed goes on with the next."""


class Outgoing(NamedTuple):
    """A message of the contract and where it goes."""

    subject: str
    message: Message


class KamailioFeed:
    """One Kamailio's frames, in the order they came. It only remembers the list that is being
    sent: the mark before it (true at ``seq``) and its dialogs."""

    def __init__(self) -> None:
        self._mark: Message | None = None
        self._dialogs: list[Any] | None = None
        self._lists = 0

    def feed(self, frame: object) -> list[Outgoing]:
        """What a frame says in the contract: mostly one message, sometimes none, for a list one
        a part. Raises :class:`BadFrame`."""
        if not isinstance(frame, dict):
            raise BadFrame(f"a {type(frame).__name__} is no frame")
        if "jsonrpc" in frame:
            return self._answered(frame)
        kind = frame.get("ev")
        try:
            if kind == "heartbeat":
                return [_out("heartbeat", _envelope(frame) | _dialogs(frame))]
            if kind == "snapshot_begin":
                self._mark, self._dialogs = _envelope(frame), None
                return []
            if kind == "snapshot_end":
                return self._listed()
            if isinstance(kind, str) and kind in _PHASE_OF:
                return [_call_event(kind, frame)]
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise BadFrame(f"{kind}: {type(error).__name__}: {error}"[:200]) from None
        raise BadFrame(f"unknown event {str(kind)[:40]!r}")

    def _answered(self, frame: Message) -> list[Outgoing]:
        result = frame.get("result")
        if self._mark is None:
            return []  # an answer to something else
        if not isinstance(result, list):
            self._mark = None
            raise BadFrame(f"dlg.list failed: {str(frame.get('error'))[:100]}")
        self._dialogs = result
        return []

    def _listed(self) -> list[Outgoing]:
        mark, dialogs = self._mark, self._dialogs
        self._mark = self._dialogs = None
        if mark is None or dialogs is None:
            raise BadFrame("the end of a list that did not begin")
        self._lists += 1
        name = f"{mark['epoch']}-{mark['seq']}-{self._lists}"
        calls = [_listed_call(dialog) for dialog in dialogs if dialog["state"] != _DELETED]
        return list(sync(mark, name, calls))


def sync(envelope: Message, sync_id: str, calls: list[Message]) -> Iterator[Outgoing]:
    """A complete list as ``sync`` messages of at most 200 calls; an empty one is one part."""
    parts = [calls[at : at + CALLS_A_PART] for at in range(0, len(calls), CALLS_A_PART)] or [[]]
    for number, part in enumerate(parts, 1):
        told = {"sync_id": sync_id, "part": number, "parts": len(parts), "calls": part}
        yield _out("sync", envelope | told)


def with_cdrs(messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
    """The messages, and behind each end of a call its CDR: the same told durably."""
    for outgoing in messages:
        yield outgoing
        if outgoing.message.get("phase") in ("ended", "failed"):
            yield Outgoing(CDR_SUBJECT, outgoing.message)


def _out(phase: str, message: Message) -> Outgoing:
    return Outgoing(SUBJECT_PREFIX + phase, message | {"phase": phase})


def _envelope(frame: Message) -> Message:
    return {"v": 1, "node": str(frame["node"]), "epoch": int(frame["epoch"]),
            "seq": int(frame["seq"]), "ts": _ms(frame["ts"])}  # fmt: skip


def _dialogs(frame: Message) -> Message:
    """How many dialogs are up: counted in Kamailio's table, for its statistics drift."""
    names = ("starting", "connecting", "answering", "ongoing")
    if any(name in frame for name in names):
        return {"dialogs": sum(int(frame.get(name) or 0) for name in names)}
    return {}


def _call_event(kind: str, frame: Message) -> Outgoing:
    message = _envelope(frame)
    if "h_id" in frame:  # a call that the proxy refused has no dialog: it was never live
        message["dialog"] = f"{frame['h_entry']}.{frame['h_id']}"
    # Kamailio leaves out what is no UTF-8.
    message["call_id"] = _call_id(frame.get("call_id", _UNREADABLE), message.get("dialog", "none"))
    message |= {name: str(frame[name])[:MAX_DISPLAY_CHARS] for name in _TEXT if frame.get(name)}
    message |= {name: str(frame[name]) for name in _NAMES if _is_name(frame.get(name))}
    if frame.get("direction") in _DIRECTIONS:
        message["direction"] = frame["direction"]
    message |= {name: _ms(frame[raw]) for raw, name in _TIMES.items() if frame.get(raw)}
    if frame.get("attempt"):
        message["attempt"] = int(frame["attempt"])
    if 100 <= int(frame.get("sip_code") or 0) <= 699:
        message["sip_code"] = int(frame["sip_code"])
    message |= _parties(frame.get("from_uri"), frame.get("ruri_user"), frame.get("to_uri"))
    phase = _PHASE_OF[kind]
    if phase in ("ended", "failed"):
        message["ended_at"] = message["ts"]
        message["outcome"] = _outcome(phase, message)
    if phase == "notice":
        message["detail"] = " ".join(filter(None, (_NOTICE[kind], frame.get("detail"))))
    return _out(phase, message)


def _outcome(phase: str, message: Message) -> str:
    detail = message.get("detail")
    if phase == "ended":
        return str(detail) if detail in ("expired", "terminated") else "answered"
    if "dialog" not in message:
        return "rejected_local"
    by = message.get("by", "")
    return _OUTCOME_BY.get(by) or _OUTCOME_OF.get(message.get("sip_code", 0), "failed")


def _listed_call(dialog: Message) -> Message:
    """One dialog of ``dlg.list``. What the script knows of it is in its variables."""
    variables: Message = {}
    for pair in dialog.get("variables") or ():
        variables |= pair
    name = f"{dialog['h_entry']}.{dialog['h_id']}"
    call: Message = {
        "dialog": name,
        "call_id": _call_id(dialog["call-id"], name),
        "state": _state(int(dialog["state"]), variables),
    }
    if "hold" in variables:
        call["held"] = variables["hold"] == "1"
    if variables.get("dir") in _DIRECTIONS:
        call["direction"] = variables["dir"]
    for raw, name in (("co", "company_id"), ("gw", "trunk")):
        if _is_name(variables.get(raw)):
            call[name] = str(variables[raw])
    for raw, name in (("t0", "setup_at"), ("t1", "progress_at"), ("t2", "answered_at")):
        if variables.get(raw):
            call[name] = _ms(variables[raw])
    if variables.get("att"):
        call["attempt"] = int(variables["att"])
    for name in ("from_uri", "to_uri"):
        if dialog.get(name):
            call[name] = str(dialog[name])[:MAX_DISPLAY_CHARS]
    return call | _parties(dialog.get("from_uri"), variables.get("ru"), dialog.get("to_uri"))


def _call_id(told: object, dialog: str) -> str:
    """A Call-ID as the contract allows it. Who chooses a huge one, or one that is no text, must
    neither hide his call nor spoil his node's list of dialogs; two of them stay two, and each is
    the same in events, where it is missing, and in lists, where it came as raw bytes."""
    text = str(told)
    if _UNREADABLE in text:
        return f"unreadable-{dialog}"
    if len(text) <= MAX_CALL_ID_CHARS:
        return text
    digest = sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{text[: MAX_CALL_ID_CHARS - len(digest) - 1]}~{digest}"


def _is_name(told: object) -> bool:
    """Whether a company or trunk may be called so. One that is too long is none, and not cut to
    another's: a configuration may take it from a header, which its caller chooses."""
    return bool(told) and len(str(told)) <= MAX_NAME_CHARS


def _state(number: int, variables: Message) -> str:
    if number >= 3:  # 3 confirmed, 4 confirmed and acknowledged
        return "held" if variables.get("hold") == "1" else "answered"
    if "em" in variables:
        return "early"
    return "ringing" if "rg" in variables else "trying"


def _parties(from_uri: object, dialled: object, to_uri: object) -> Message:
    """The users of the two sides, for people. The number dialled is the request's, for To may
    hold anything, of any length: what NATS would refuse could never be delivered."""
    found = {"from": _user(from_uri), "to": str(dialled) if dialled else _user(to_uri)}
    return {name: user[:MAX_DISPLAY_CHARS] for name, user in found.items() if user}


def _user(uri: object) -> str | None:
    """The user part of a SIP URI (RFC 3261 §19.1.1), unescaped."""
    if not isinstance(uri, str):
        return None
    rest = uri.partition(":")[2] or uri
    user, at, _ = rest.rpartition("@")
    return unquote(user.partition(";")[0].partition(":")[0]) or None if at else None


def _ms(seconds: object) -> int:
    """Kamailio's time, seconds with a fraction as text, in milliseconds."""
    whole, _, fraction = str(seconds).partition(".")
    return int(whole) * 1000 + int((fraction + "000")[:3])


def relived(message: Message, move: Callable[[int], int], epoch: int, suffix: str = "") -> Message:
    """A message as if it happened at another time (``move``, ms to ms), in another epoch, with
    other Call-IDs: so that an old capture can be lived again."""
    again = dict(message)
    for name in ("ts", "setup_at", "progress_at", "answered_at", "ended_at"):
        if name in again:
            again[name] = move(again[name])
    if "epoch" in again:
        again["epoch"] = epoch
    if "call_id" in again:
        again["call_id"] += suffix
    if "calls" in again:
        again["calls"] = [relived(call, move, epoch, suffix) for call in again["calls"]]
    return again
