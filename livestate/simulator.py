"""A phone network that does not exist: calls of companies through trunks, as nodes would tell them.

Pure and seeded: the same seed and the same clock give the same messages. Time comes in as
milliseconds; nobody waits here. The same network answers for its own lists of dialogs, so it can
be asked what is live, like a real node.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, Final, NamedTuple

from livestate.bridge.kamailio import Message, Outgoing, sync
from livestate.events import SUBJECT_PREFIX

HEARTBEAT_MS: Final = 2_000
LIST_MS: Final = 30_000
TRUNKS: Final = {"mil-sbc-1": 5, "mil-sbc-2": 3, "rom-sbc-1": 3, "fra-intl": 1}  # and shares

# outcome → share, final response, who caused it: roughly a business network's working day.
OUTCOMES: Final[tuple[tuple[str, float, int, str, str], ...]] = (
    ("answered", 66.0, 200, "OK", ""),
    ("no_answer", 10.0, 408, "Request Timeout", "timeout_ringing"),
    ("canceled", 9.0, 487, "Request Terminated", "caller"),
    ("busy", 6.0, 486, "Busy Here", "callee"),
    ("unavailable", 2.5, 480, "Temporarily Unavailable", "callee"),
    ("invalid_number", 2.5, 404, "Not Found", "callee"),
    ("declined", 1.5, 603, "Decline", "callee"),
    ("congestion", 1.0, 503, "Service Unavailable", "proxy"),
    ("no_reply", 0.5, 408, "Request Timeout", "timeout_no_reply"),
    ("rejected_local", 1.0, 403, "Forbidden", "proxy"),
)
_OUTCOME_SHARES: Final = [outcome[1] for outcome in OUTCOMES]
_ALERTED: Final = frozenset({"answered", "no_answer", "canceled", "busy", "declined"})
_STATE_AFTER: Final = {
    "setup": "trying", "ringing": "ringing", "early_media": "early", "reroute": "trying",
    "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traffic:
    """What kind of day it is. ``calls`` None goes on for ever; times are in seconds."""

    cps: float = 5.0
    calls: int | None = None
    seed: int = 1
    nodes: int = 2
    companies: int = 12
    talk_seconds: float = 45.0
    ring_seconds: float = 6.0


class Step(NamedTuple):
    """Something that will happen to a call."""

    at: int
    order: int  # of planning: what is planned for the same millisecond keeps its order
    call: SimulatedCall
    phase: str
    told: Message


@dataclass(slots=True, eq=False)
class SimulatedCall:
    """One call: what its node tells of it in each event (``told``), and where it stands."""

    node: SimulatedNode
    told: Message
    state: str = "trying"


@dataclass(slots=True)
class SimulatedNode:
    """A SIP node: its numbering, and its dialogs that are up."""

    name: str
    epoch: int
    seq: int = 0
    lists: int = 0
    dialogs: int = 0
    live: dict[str, SimulatedCall] = field(default_factory=dict)

    def envelope(self, at: int) -> Message:
        return {"v": 1, "node": self.name, "epoch": self.epoch, "seq": self.seq, "ts": at}


class Network:
    """All of it. ``due(now)`` is everything its nodes say up to ``now``, in order."""

    def __init__(self, traffic: Traffic, start: int) -> None:
        self.traffic = traffic
        self.started = 0  # calls so far
        self._random = Random(traffic.seed)
        self._order = count()
        self._steps: list[Step] = []
        self._start = start
        self._next_call = float(start)
        self._next_beat = start
        self._next_list = start
        self.nodes = {
            name: SimulatedNode(name, epoch=start)
            for name in (f"sim-{number}" for number in range(1, traffic.nodes + 1))
        }
        weights = [1 / rank for rank in range(1, traffic.companies + 1)]  # few big, many small
        self._companies = [str(100 + number) for number in range(1, traffic.companies + 1)]
        self._weights = weights

    @property
    def live(self) -> int:
        return sum(len(node.live) for node in self.nodes.values())

    @property
    def done(self) -> bool:
        """Every call that was asked for is over."""
        return self.started == self.traffic.calls and not self._steps

    def next_at(self) -> int:
        """When something is due next (ms)."""
        soonest = min(self._next_beat, self._next_list)
        if self._steps:
            soonest = min(soonest, self._steps[0].at)
        if self.started != self.traffic.calls:
            soonest = min(soonest, int(self._next_call))
        return soonest

    def due(self, now: int) -> Iterator[Outgoing]:
        """What the nodes say up to ``now``, oldest first."""
        while (at := self.next_at()) <= now:
            if at == self._next_list:
                self._next_list += LIST_MS
                for node in self.nodes:
                    yield from self.listing(node, at)
            elif at == self._next_beat:
                self._next_beat += HEARTBEAT_MS
                for one in self.nodes.values():
                    beat = one.envelope(at) | {"phase": "heartbeat", "dialogs": len(one.live)}
                    yield Outgoing(SUBJECT_PREFIX + "heartbeat", beat)
            elif self._steps and self._steps[0].at <= at:
                yield self._happen(heapq.heappop(self._steps))
            else:
                self._next_call += self._random.expovariate(self.traffic.cps) * 1000
                self.started += 1
                self._plan(at)

    def listing(self, node: str, now: int) -> Iterator[Outgoing]:
        """The list of a node's dialogs, true now: what ``call.resync.<node>`` asks for."""
        one = self.nodes[node]
        one.lists += 1
        calls = []
        for call in one.live.values():
            listed = {name: value for name, value in call.told.items() if name not in _EVENT_ONLY}
            calls.append(listed | {"state": call.state, "held": call.state == "held"})
        yield from sync(one.envelope(now), f"{one.epoch}-{one.seq}-{one.lists}", calls)

    def restart(self, node: str, epoch: int) -> None:
        """A node ends without a word and comes back: its calls are gone, it numbers anew."""
        one = self.nodes[node]
        one.epoch, one.seq, one.lists = epoch, 0, 0
        one.live.clear()
        self._steps = [step for step in self._steps if step.call.node is not one]
        heapq.heapify(self._steps)

    def truth(self) -> dict[tuple[str, str], str]:
        """(node, dialog) → state of every call that is up."""
        return {
            (node.name, dialog): call.state
            for node in self.nodes.values() for dialog, call in node.live.items()
        }  # fmt: skip

    # -- planning --------------------------------------------------------------------------

    def _plan(self, at: int) -> None:
        """One attempt, from its INVITE to its end."""
        chance = self._random
        node = self.nodes[chance.choice(sorted(self.nodes))]
        call = SimulatedCall(node, self._parties(at))
        outcome, _, code, reason, by = chance.choices(OUTCOMES, _OUTCOME_SHARES)[0]
        end: Message = {"sip_code": code, "sip_reason": reason, "outcome": outcome}
        if by:
            end["by"] = by
        if outcome == "rejected_local":
            self._step(at, call, "failed", end)
            return
        self._dialog(call)
        self._step(at, call, "setup", {"sip_code": 100, "sip_reason": "Trying"})
        at = self._alert(call, outcome, at)
        if outcome == "answered":
            self._talk(call, at)
            return
        self._step(at, call, "failed", end)
        if outcome in ("busy", "congestion") and chance.random() < 0.2:
            # The same user agent tries again with the same Call-ID: another dialog.
            again = SimulatedCall(node, dict(call.told))
            self._dialog(again)
            at += self._ms(3)
            self._step(at, again, "setup", {"setup_at": at, "sip_code": 100})
            self._talk(again, self._alert(again, "answered", at))

    def _parties(self, at: int) -> Message:
        chance = self._random
        told: Message = {"call_id": f"{chance.getrandbits(64):016x}@{chance.choice(_HOSTS)}"}
        direction = chance.choices(("outbound", "inbound", "internal"), (5, 4, 2))[0]
        company = chance.choices(self._companies, self._weights)[0]
        if chance.random() > 0.005:  # else of nobody: a wrong number of ours
            told["company_id"] = company
        inside = f"{company}{chance.randrange(10, 100)}"
        outside = (
            f"+39{chance.choice(('02', '06', '011', '347', '333'))}{chance.randrange(10**7):07d}"
        )
        sides = {"outbound": (inside, outside), "inbound": (outside, inside),
                 "internal": (inside, f"{company}{chance.randrange(10, 100)}")}  # fmt: skip
        told |= {"direction": direction, "from": sides[direction][0], "to": sides[direction][1]}
        if direction != "internal":
            told["trunk"] = chance.choices(tuple(TRUNKS), tuple(TRUNKS.values()))[0]
        return told | {"attempt": 1, "setup_at": at}

    def _dialog(self, call: SimulatedCall) -> None:
        call.node.dialogs += 1
        call.told["dialog"] = f"{call.node.dialogs % 4096}.{call.node.dialogs}"

    def _alert(self, call: SimulatedCall, outcome: str, at: int) -> int:
        """The way to the other side's phone; when the answer or the refusal comes."""
        chance = self._random
        at += chance.randrange(30, 400)
        if "trunk" in call.told and chance.random() < 0.04:
            others = [trunk for trunk in TRUNKS if trunk != call.told["trunk"]]
            self._step(at, call, "reroute", {
                "attempt": 2, "trunk": chance.choice(others), "sip_code": 503,
                "sip_reason": "Service Unavailable", "detail": "next gateway",
            })  # fmt: skip
            at += chance.randrange(30, 400)
        if outcome in _ALERTED:
            phase = "early_media" if chance.random() < 0.2 else "ringing"
            code = {"early_media": 183, "ringing": 180}[phase]
            self._step(at, call, phase, {"progress_at": at, "sip_code": code,
                                         "sip_reason": "Session Progress" if code == 183
                                         else "Ringing"})  # fmt: skip
            at += self._ms(self.traffic.ring_seconds * (5 if outcome == "no_answer" else 1))
        return at

    def _talk(self, call: SimulatedCall, at: int) -> None:
        """From the 2xx to the BYE, with holds and transfers between."""
        chance = self._random
        self._step(at, call, "answered",
                   {"answered_at": at, "sip_code": 200, "sip_reason": "OK"})  # fmt: skip
        end = at + self._ms(self.traffic.talk_seconds)
        if chance.random() < 0.15 and end - at > 3_000:
            held = chance.randrange(at + 1_000, end - 1_000)
            self._step(held, call, "hold", {})
            if chance.random() < 0.9:
                self._step(chance.randrange(held + 1, end), call, "resume", {})
        elif chance.random() < 0.05 and end - at > 2_000:
            moved: Message = {"detail": "blind transfer"}
            if "company_id" in call.told and chance.random() < 0.1:
                moved["company_id"] = chance.choice(self._companies)  # to another customer of ours
            self._step(chance.randrange(at + 1, end), call, "transfer", moved)
        self._step(end, call, "ended", {
            "outcome": "answered", "by": chance.choice(("caller", "callee")),
        })  # fmt: skip

    def _ms(self, mean_seconds: float) -> int:
        """A length of time around a mean, with the long tail that talks have."""
        return max(50, int(self._random.lognormvariate(0, 0.8) / 1.377 * mean_seconds * 1000))

    def _step(self, at: int, call: SimulatedCall, phase: str, told: Message) -> None:
        heapq.heappush(self._steps, Step(at, next(self._order), call, phase, told))

    def _happen(self, step: Step) -> Outgoing:
        call, node = step.call, step.call.node
        call.told |= step.told
        if step.phase in ("ended", "failed"):
            call.told["ended_at"] = step.at
            node.live.pop(call.told.get("dialog", ""), None)
        else:
            call.state = _STATE_AFTER[step.phase]
            node.live[call.told["dialog"]] = call
        node.seq += 1
        message = node.envelope(step.at) | call.told | {"phase": step.phase}
        return Outgoing(SUBJECT_PREFIX + step.phase, message)


_HOSTS: Final = ("10.0.4.17", "10.0.4.18", "pbx.acme.example", "sbc2.globex.example")
_EVENT_ONLY: Final = frozenset({"outcome", "by", "ended_at", "sip_code", "sip_reason", "detail"})


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What core NATS and a bad day do to messages, each as a share from 0 to 1."""

    duplicates: float = 0.0
    reorder: float = 0.0
    losses: float = 0.0
    seed: int = 1


class Disturbed:
    """Messages that come twice, in another order, or never."""

    def __init__(self, disturbance: Disturbance) -> None:
        self.lost = 0
        self._what = disturbance
        self._random = Random(disturbance.seed)
        self._held: list[tuple[int, Any]] = []  # how many messages may still pass it, and it

    def calm(self) -> None:
        """From now on nothing is disturbed."""
        self._what = Disturbance()

    def pass_on(self, messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
        """The messages as they arrive. One that is held back comes when some have passed it, or
        at the end: arrivals swap by a few, as seen on a real Kamailio."""
        what, chance = self._what, self._random
        for message in messages:
            if chance.random() < what.losses:
                self.lost += 1
            elif chance.random() < what.reorder:
                self._held.append((chance.randrange(1, 4), message))
                continue
            else:
                yield message
                if chance.random() < what.duplicates:
                    self._held.append((chance.randrange(0, 20), message))
            self._held = [(left - 1, one) for left, one in self._held]
            for left, one in self._held:
                if left <= 0:
                    yield one
            self._held = [(left, one) for left, one in self._held if left > 0]
        for _, one in self._held:
            yield one
        self._held = []
