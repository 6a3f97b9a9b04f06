"""FreeSWITCH's channel events to the contract: proof that the contract is not Kamailio's.

**Translation only.** It was written from FreeSWITCH's documentation and is tested with frames
sampled from it; it was never run against a FreeSWITCH, and no command of livestate uses it.

A call is the leg that came in (its channel); the legs that FreeSWITCH makes for it are attempts. An
outgoing leg without another leg (an ``originate``) is a call of its own. FreeSWITCH's
``Event-Sequence`` counts events of every kind, heard or not, so it is no number without gaps:
the feed numbers by itself, and a feed that begins anew is a new epoch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from livestate.bridge.kamailio import BadFrame, Message, Outgoing, sync
from livestate.events import (
    MAX_CALL_ID_CHARS,
    MAX_DISPLAY_CHARS,
    MAX_NAME_CHARS,
    SUBJECT_PREFIX,
)

# A bridge would subscribe with `event json`, these, HEARTBEAT, and `CUSTOM sofia::transferor`.
_PHASE_OF: Final[Mapping[str, str]] = {
    "CHANNEL_CREATE": "setup", "CHANNEL_PROGRESS": "ringing",
    "CHANNEL_PROGRESS_MEDIA": "early_media", "CHANNEL_ANSWER": "answered",
    "CHANNEL_HOLD": "hold", "CHANNEL_UNHOLD": "resume", "CHANNEL_HANGUP_COMPLETE": "ended",
    "CUSTOM": "transfer",
}  # fmt: skip
_OF_ANY_LEG: Final = frozenset({"hold", "resume", "transfer"})

# How a call that was never answered ended, by its Hangup-Cause (Q.850 and FreeSWITCH's own).
_OUTCOME_OF: Final[Mapping[str, str]] = {
    "USER_BUSY": "busy", "NO_ANSWER": "no_answer", "ALLOTTED_TIMEOUT": "no_answer",
    "NO_USER_RESPONSE": "no_reply", "PROGRESS_TIMEOUT": "no_reply",
    "RECOVERY_ON_TIMER_EXPIRE": "no_reply", "ORIGINATOR_CANCEL": "canceled",
    "CALL_REJECTED": "declined", "SUBSCRIBER_ABSENT": "unavailable",
    "USER_NOT_REGISTERED": "unavailable", "DESTINATION_OUT_OF_ORDER": "unavailable",
    "UNALLOCATED_NUMBER": "invalid_number", "NO_ROUTE_DESTINATION": "invalid_number",
    "INVALID_NUMBER_FORMAT": "invalid_number", "NORMAL_CIRCUIT_CONGESTION": "congestion",
    "SWITCH_CONGESTION": "congestion", "NETWORK_OUT_OF_ORDER": "congestion",
    "NORMAL_TEMPORARY_FAILURE": "congestion", "GATEWAY_DOWN": "congestion",
}  # fmt: skip
_OUTCOME_OF_ANSWERED: Final[Mapping[str, str]] = {
    "ALLOTTED_TIMEOUT": "expired", "MEDIA_TIMEOUT": "expired",
    "RECOVERY_ON_TIMER_EXPIRE": "expired", "MANAGER_REQUEST": "terminated",
    "SYSTEM_SHUTDOWN": "terminated",
}  # fmt: skip
_BY: Final[Mapping[str, str]] = {  # variable_sip_hangup_disposition of the leg that came in
    "recv_bye": "caller", "recv_cancel": "caller", "send_bye": "callee", "send_refuse": "callee",
}  # fmt: skip
_BY_OUTCOME: Final[Mapping[str, str]] = {
    "canceled": "caller", "no_answer": "timeout_ringing", "no_reply": "timeout_no_reply",
    "expired": "proxy", "terminated": "proxy",
}  # fmt: skip
_TIMES: Final = (
    ("Caller-Channel-Created-Time", "setup_at"),
    ("Caller-Channel-Progress-Time", "progress_at"),
    ("Caller-Channel-Progress-Media-Time", "progress_at"),
    ("Caller-Channel-Answered-Time", "answered_at"),
)
_DIRECTION_OF: Final = {"inbound": "inbound", "outbound": "outbound", "local": "internal"}
_STATE_OF: Final[Mapping[str, str]] = {  # callstate of `show channels as json`
    "DOWN": "trying", "DIALING": "trying", "RINGING": "ringing", "RING_WAIT": "ringing",
    "EARLY": "early", "ACTIVE": "answered", "UNHELD": "answered", "HELD": "held",
}  # fmt: skip


class FreeswitchFeed:
    """One FreeSWITCH's events, in the order they came, from one connection after the other."""

    def __init__(self) -> None:
        self.seq = 0
        self._core = ""
        self._epoch = 0
        self._node = ""
        self._calls: dict[str, Message] = {}  # channel → what is known of its call
        self._legs: Counter[str] = Counter()  # made for a call so far
        self._call_of: dict[str, str] = {}  # a leg made for it → the call's channel
        self._lists = 0

    def feed(self, event: object) -> list[Outgoing]:
        """What an event says in the contract: one message, or none. Raises
        :class:`~livestate.bridge.kamailio.BadFrame`."""
        if not isinstance(event, dict) or not isinstance(event.get("Event-Name"), str):
            raise BadFrame("no event of FreeSWITCH")
        try:
            self._begin(event)
            if event["Event-Name"] == "HEARTBEAT":
                return [self.beat(_ms(event["Event-Date-Timestamp"]))]
            phase = _PHASE_OF.get(event["Event-Name"])
            if phase is None or (phase == "transfer" and event.get("Event-Subclass")
                                 != "sofia::transferor"):  # fmt: skip
                return []
            return self._heard(phase, event)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            name = str(event["Event-Name"])[:40]
            raise BadFrame(f"{name}: {type(error).__name__}: {error}"[:200]) from None

    def beat(self, now: int) -> Outgoing:
        """A heartbeat; the bridge makes one every 2 s, FreeSWITCH's own come every 20."""
        told = self._envelope(now) | {"phase": "heartbeat", "dialogs": len(self._calls)}
        return Outgoing(SUBJECT_PREFIX + "heartbeat", told)

    def listed(
        self, answer: Mapping[str, Any], call_ids: Mapping[str, str], now: int
    ) -> list[Outgoing]:
        """The answer to ``show channels as json`` as a list that is true now, for it came on the
        connection that the events come on.

        It has no SIP Call-IDs. Those of calls that no event told of are in ``call_ids`` (``api
        uuid_getvar <channel> sip_call_id``); one that is nowhere is a :class:`BadFrame`.
        """
        calls = []
        for row in answer.get("rows") or ():
            channel, state = str(row["uuid"]), _STATE_OF.get(str(row.get("callstate")))
            made_for = row.get("call_uuid") or channel
            if state is None or (row.get("direction") == "outbound" and made_for != channel):
                continue  # over, or a leg of another call
            known = self._calls.get(channel, {})
            call_id = known.get("call_id") or call_ids.get(channel)
            if not call_id:
                raise BadFrame(f"nobody told the Call-ID of channel {channel[:40]}")
            told = {
                "from": row.get("initial_cid_num") or row.get("cid_num"),
                "to": row.get("initial_dest") or row.get("dest"),
                "company_id": row.get("accountcode"),
            }
            call = {name: str(value) for name, value in told.items() if value} | known
            calls.append(call | {"dialog": channel, "call_id": call_id, "state": state})
            self._calls.setdefault(channel, call | {"call_id": call_id, "attempt": 1})
        self._lists += 1
        return list(sync(self._envelope(now), f"{self._epoch}-{self.seq}-{self._lists}", calls))

    def _begin(self, event: Message) -> None:
        """A FreeSWITCH that was started anew (another Core-UUID) is a new epoch."""
        if event["Core-UUID"] != self._core:
            self._core = event["Core-UUID"]
            self._epoch = _ms(event["Event-Date-Timestamp"])
            self._node = re.sub(r"[^A-Za-z0-9_-]", "-", event["FreeSWITCH-Switchname"])[:64]
            self.seq = 0
            self._calls.clear()
            self._legs.clear()
            self._call_of.clear()

    def _heard(self, phase: str, event: Message) -> list[Outgoing]:
        leg = str(event["Unique-ID"])
        other = event.get("Other-Leg-Unique-ID")
        if phase == "setup" and event["Call-Direction"] == "outbound" and other in self._calls:
            self._call_of[leg] = other
            return self._attempt(other, event)
        if leg in self._call_of:
            if phase == "ended":
                del self._call_of[leg]
            if phase not in _OF_ANY_LEG:
                return []  # the leg that came in tells the same of the call
            return [self._say(phase, self._call_of[leg], event, {"by": "callee"})]
        return [self._own(phase, leg, event)]

    def _own(self, phase: str, channel: str, event: Message) -> Outgoing:
        """An event of the leg that is the call."""
        known = self._calls.setdefault(channel, {"attempt": 1})
        known |= _facts(event)
        if phase in _OF_ANY_LEG:
            return self._say(phase, channel, event, {"by": "caller"})
        if phase == "answered":
            return self._say(phase, channel, event, {"sip_code": 200})
        if phase != "ended":
            return self._say(phase, channel, event, {})
        over = _end(known, event)
        said = self._say("ended" if "answered_at" in known else "failed", channel, event, over)
        del self._calls[channel], self._legs[channel]
        return said

    def _attempt(self, channel: str, event: Message) -> list[Outgoing]:
        """FreeSWITCH makes a leg for a call: from the second on, it was re-routed."""
        known = self._calls[channel]
        self._legs[channel] += 1
        known["attempt"] = self._legs[channel]
        if trunk := event.get("variable_sip_gateway_name"):
            known["trunk"] = str(trunk)[:MAX_NAME_CHARS]
        if known["attempt"] < 2 or "answered_at" in known:
            return []
        return [self._say("reroute", channel, event, {})]

    def _say(self, phase: str, channel: str, event: Message, facts: Message) -> Outgoing:
        self.seq += 1
        told = self._envelope(_ms(event["Event-Date-Timestamp"])) | {"phase": phase}
        told |= {"dialog": channel} | self._calls[channel] | facts
        return Outgoing(SUBJECT_PREFIX + phase, told)

    def _envelope(self, now: int) -> Message:
        if not self._node:
            raise BadFrame("nothing was heard of this FreeSWITCH yet")
        return {"v": 1, "node": self._node, "epoch": self._epoch, "seq": self.seq, "ts": now}


def _facts(event: Message) -> Message:
    """What an event tells of its call: with each, all that is known so far."""
    told: Message = {"call_id": str(event.get("variable_sip_call_id") or event["Unique-ID"])}
    told["call_id"] = told["call_id"][:MAX_CALL_ID_CHARS]
    text = (
        ("from", "Caller-Caller-ID-Number"), ("to", "Caller-Destination-Number"),
        ("company_id", "variable_company_id"), ("company_id", "variable_accountcode"),
        ("trunk", "variable_sip_gateway_name"),
    )  # fmt: skip
    for name, header in text:
        value = str(event.get(header) or "")[:MAX_DISPLAY_CHARS]
        if name in ("company_id", "trunk") and len(value) > MAX_NAME_CHARS:
            continue  # cut, it might be another's
        if value and name not in told:
            told[name] = value
    if (direction := _DIRECTION_OF.get(event.get("variable_call_direction", ""))) is not None:
        told["direction"] = direction
    for header, name in _TIMES:
        if (at := _ms(event.get(header) or 0)) and name not in told:
            told[name] = at
    return told


def _end(known: Message, event: Message) -> Message:
    """How a call ended."""
    cause = str(event.get("Hangup-Cause") or "")
    answered = "answered_at" in known
    outcome = (
        _OUTCOME_OF_ANSWERED.get(cause, "answered") if answered
        else _OUTCOME_OF.get(cause, "failed")
    )  # fmt: skip
    told: Message = {
        "outcome": outcome, "detail": cause[:MAX_DISPLAY_CHARS],
        "ended_at": _ms(event.get("Caller-Channel-Hangup-Time") or event["Event-Date-Timestamp"]),
    }  # fmt: skip
    by = _BY_OUTCOME.get(outcome) or _BY.get(event.get("variable_sip_hangup_disposition", ""))
    if by is not None:
        told["by"] = by
    status = str(event.get("variable_sip_term_status") or "")
    if not answered and re.fullmatch(r"[1-6]\d\d", status):
        told["sip_code"] = int(status)
    return told


def _ms(micros: object) -> int:
    """FreeSWITCH's times are microseconds; 0 is not yet."""
    return int(str(micros)) // 1000
