"""Simulates a phone network: calls of companies through trunks, as its SIP nodes report them.

``livestate simulate``, the demo, the benches and many tests use it as a source of messages. Pure
and seeded: the same seed and the same times give the same messages. Times are arguments in ms. The
network also answers for its own lists of dialogs and knows which calls are up, so that a test can
compare livestate with it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final, NamedTuple

from livestate.contract.events import SUBJECT_PREFIX
from livestate.contract.messages import Message, Outgoing, sync

HEARTBEAT_MS: Final = 2_000
LIST_MS: Final = 30_000
MEASURED: Final = 0.6  # of the conversations, for people to see: most proxies relay the media
TRUNKS: Final = {"mil-sbc-1": 5, "mil-sbc-2": 3, "rom-sbc-1": 3, "fra-intl": 1}  # name → weight

# (outcome, share, final response, reason phrase, caused by): about a working day of a business
# network.
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
_HOSTS: Final = ("10.0.4.17", "10.0.4.18", "pbx.acme.example", "sbc2.globex.example")
_EVENT_ONLY: Final = frozenset({"outcome", "by", "ended_at", "sip_code", "sip_reason", "detail"})
_OUTCOME_SHARES: Final = [outcome[1] for outcome in OUTCOMES]
_PROVISIONAL: Final = {"early_media": (183, "Session Progress"), "ringing": (180, "Ringing")}
_ALERTED: Final = frozenset({"answered", "no_answer", "canceled", "busy", "declined"})
_STATE_AFTER: Final = {
    "setup": "trying", "ringing": "ringing", "early_media": "early", "reroute": "trying",
    "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much traffic there is. ``calls`` None: without end. Times are in seconds. Nodes are
    named ``prefix-1``, ``prefix-2`` … ``measured``: the share of conversations whose quality is
    reported, once while they last and with their end."""

    cps: float = 5.0
    calls: int | None = None
    seed: int = 1
    nodes: int = 2
    companies: int = 12
    talk_seconds: float = 45.0
    ring_seconds: float = 6.0
    prefix: str = "sim"
    measured: float = 0.0


class Step(NamedTuple):
    """An event of a call that is planned for ``at`` (ms); ``fields`` are those of its message."""

    at: int
    order: int  # events of the same millisecond keep the order in which they were planned
    call: SimulatedCall
    phase: str
    fields: Message


@dataclass(slots=True, eq=False)
class SimulatedCall:
    """One call: its attributes, which each event of it carries, and its state."""

    node: SimulatedNode
    attributes: Message
    state: str = "trying"


@dataclass(slots=True)
class SimulatedNode:
    """A SIP node: its numbering, and its live dialogs."""

    name: str
    epoch: int
    seq: int = 0
    lists: int = 0
    dialogs: int = 0
    live: dict[str, SimulatedCall] = field(default_factory=dict)

    def envelope(self, at: int) -> Message:
        """The fields that every message of the node carries."""
        return {"v": 1, "node": self.name, "epoch": self.epoch, "seq": self.seq, "ts": at}


class Network:
    """All nodes with their calls, from ``start`` (ms) on."""

    def __init__(self, traffic: Traffic, start: int) -> None:
        self.traffic = traffic
        self.started = 0  # calls so far
        self._random = Random(traffic.seed)
        self._lines = Random(traffic.seed)  # their quality: with it, the calls are the same ones
        self._order = count()
        self._steps: list[Step] = []
        self._start = start
        self._next_call = float(start)
        self._next_beat = start
        self._next_list = start
        self.nodes = {
            name: SimulatedNode(name, epoch=start)
            for name in (f"{traffic.prefix}-{number}" for number in range(1, traffic.nodes + 1))
        }
        weights = [1 / rank for rank in range(1, traffic.companies + 1)]  # few large, many small
        self._companies = [str(100 + number) for number in range(1, traffic.companies + 1)]
        self._weights = weights

    @property
    def live(self) -> int:
        """How many calls are up."""
        return sum(len(node.live) for node in self.nodes.values())

    @property
    def done(self) -> bool:
        """Whether all ``traffic.calls`` have ended."""
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
        """The messages that the nodes send up to ``now``, oldest first."""
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
                yield self._apply(heapq.heappop(self._steps))
            else:
                self._next_call += self._random.expovariate(self.traffic.cps) * 1000
                self.started += 1
                self._plan(at)

    def listing(self, node: str, now: int) -> Iterator[Outgoing]:
        """The node's list of dialogs at ``now``: the answer to ``call.resync.<node>``."""
        one = self.nodes[node]
        one.lists += 1
        calls = []
        for call in one.live.values():
            listed = {
                name: value for name, value in call.attributes.items() if name not in _EVENT_ONLY
            }
            calls.append(listed | {"state": call.state, "held": call.state == "held"})
        yield from sync(one.envelope(now), f"{one.epoch}-{one.seq}-{one.lists}", calls)

    def restart(self, node: str, epoch: int) -> None:
        """A node crashes and restarts: its calls are gone, and it numbers from 1 in a new epoch."""
        one = self.nodes[node]
        one.epoch, one.seq, one.lists = epoch, 0, 0
        one.live.clear()
        self._steps = [step for step in self._steps if step.call.node is not one]
        heapq.heapify(self._steps)

    def truth(self) -> dict[tuple[str, str], str]:
        """(node, dialog) → state of every live call."""
        return {
            (node.name, dialog): call.state
            for node in self.nodes.values()
            for dialog, call in node.live.items()
        }

    # -- planning --------------------------------------------------------------------------

    def _plan(self, at: int) -> None:
        """Plan one call attempt from its INVITE to its end."""
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
            # The user agent tries again with the same Call-ID, which makes another dialog.
            again = SimulatedCall(node, dict(call.attributes))
            self._dialog(again)
            at += self._ms(3)
            self._step(at, again, "setup", {"setup_at": at, "sip_code": 100})
            self._talk(again, self._alert(again, "answered", at))

    def _parties(self, at: int) -> Message:
        chance = self._random
        fields: Message = {"call_id": f"{chance.getrandbits(64):016x}@{chance.choice(_HOSTS)}"}
        direction = chance.choices(("outbound", "inbound", "internal"), (5, 4, 2))[0]
        company = chance.choices(self._companies, self._weights)[0]
        if chance.random() > 0.005:  # else of no company: a misconfigured number
            fields["company_id"] = company
        inside = f"{company}{chance.randrange(10, 100)}"
        outside = (
            f"+39{chance.choice(('02', '06', '011', '347', '333'))}{chance.randrange(10**7):07d}"
        )
        sides = {
            "outbound": (inside, outside),
            "inbound": (outside, inside),
            "internal": (inside, f"{company}{chance.randrange(10, 100)}"),
        }
        fields |= {"direction": direction, "from": sides[direction][0], "to": sides[direction][1]}
        if direction != "internal":
            fields["trunk"] = chance.choices(tuple(TRUNKS), tuple(TRUNKS.values()))[0]
        return fields | {"attempt": 1, "setup_at": at}

    def _dialog(self, call: SimulatedCall) -> None:
        call.node.dialogs += 1
        call.attributes["dialog"] = f"{call.node.dialogs % 4096}.{call.node.dialogs}"

    def _alert(self, call: SimulatedCall, outcome: str, at: int) -> int:
        """Plan what comes before the answer: re-routing, ringing. Returns when the final response
        arrives (ms)."""
        chance = self._random
        at += chance.randrange(30, 400)
        if "trunk" in call.attributes and chance.random() < 0.04:
            others = [trunk for trunk in TRUNKS if trunk != call.attributes["trunk"]]
            next_gateway: Message = {
                "attempt": 2,
                "trunk": chance.choice(others),
                "sip_code": 503,
                "sip_reason": "Service Unavailable",
                "detail": "next gateway",
            }
            self._step(at, call, "reroute", next_gateway)
            at += chance.randrange(30, 400)
        if outcome in _ALERTED:
            phase = "early_media" if chance.random() < 0.2 else "ringing"
            code, reason = _PROVISIONAL[phase]
            fields: Message = {"progress_at": at, "sip_code": code, "sip_reason": reason}
            self._step(at, call, phase, fields)
            at += self._ms(self.traffic.ring_seconds * (5 if outcome == "no_answer" else 1))
        return at

    def _talk(self, call: SimulatedCall, at: int) -> None:
        """Plan a conversation from the 2xx to the BYE, with holds and transfers."""
        chance = self._random
        answer: Message = {"answered_at": at, "sip_code": 200, "sip_reason": "OK"}
        self._step(at, call, "answered", answer)
        end = at + self._ms(self.traffic.talk_seconds)
        if chance.random() < 0.15 and end - at > 3_000:
            held = chance.randrange(at + 1_000, end - 1_000)
            self._step(held, call, "hold", {})
            if chance.random() < 0.9:
                self._step(chance.randrange(held + 1, end), call, "resume", {})
        elif chance.random() < 0.05 and end - at > 2_000:
            moved: Message = {"detail": "blind transfer"}
            if "company_id" in call.attributes and chance.random() < 0.1:
                moved["company_id"] = chance.choice(self._companies)  # to another company
            self._step(chance.randrange(at + 1, end), call, "transfer", moved)
        by = chance.choice(("caller", "callee"))
        ending: Message = {"outcome": "answered", "by": by}
        if self.traffic.measured and self._lines.random() < self.traffic.measured:
            self._step(min(at + 5_000, (at + end) // 2), call, "notice", self._quality())
            ending |= self._quality()
        self._step(end, call, "ended", ending)

    def _quality(self) -> Message:
        """What a media proxy measures: most lines are good, one in eight loses packets."""
        chance = self._lines
        loss = chance.uniform(2, 9) if chance.random() < 0.12 else chance.uniform(0, 0.6)
        jitter = chance.uniform(2, 12) + 4 * loss
        mos = max(1.0, 4.4 - 0.22 * loss - 0.012 * jitter)
        return {"mos": round(mos, 1), "jitter_ms": round(jitter), "loss_pct": round(loss, 1)}

    def _ms(self, mean_seconds: float) -> int:
        """A random duration (ms) with this mean and the long tail of conversations."""
        return max(50, int(self._random.lognormvariate(0, 0.8) / 1.377 * mean_seconds * 1000))

    def _step(self, at: int, call: SimulatedCall, phase: str, fields: Message) -> None:
        heapq.heappush(self._steps, Step(at, next(self._order), call, phase, fields))

    def _apply(self, step: Step) -> Outgoing:
        call, node = step.call, step.call.node
        call.attributes |= step.fields
        if step.phase in ("ended", "failed"):
            call.attributes["ended_at"] = step.at
            node.live.pop(call.attributes.get("dialog", ""), None)
        else:
            call.state = _STATE_AFTER.get(step.phase, call.state)
            node.live[call.attributes["dialog"]] = call
        node.seq += 1
        message = node.envelope(step.at) | call.attributes | {"phase": step.phase}
        return Outgoing(SUBJECT_PREFIX + step.phase, message)
