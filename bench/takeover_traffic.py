"""One node that publishes calls, and knows what dashboards must show. For :mod:`bench.takeover`."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from livestate.process.clock import now_ms

NODE: Final = "bench"
RATE: Final = 200  # events/s of company 101
LIGHT: Final = "101"  # the company that most clients are of
OTHERS: Final = ("102", "103", "104")  # together a tenth of its events
CHANGING: Final = {LIGHT: 60} | dict.fromkeys(OTHERS, 12)  # calls of each that change in turn
REPLACED_EVERY: Final = 20  # steps; then a call ends, and another one begins
LIST_SECONDS: Final = 1.0  # from the end of a list to the next, as the bridge paces them
PART_SECONDS: Final = 0.02  # between two parts: a bridge takes 5 s to read 50,000 dialogs
LISTED_AT_ONCE: Final = 200  # calls in a part of a list


class TooLate(Exception):
    """A step did not finish within its time limit. The message says what is missing."""


def say(*what: object) -> None:
    """Progress, so that a long run does not look like one that hangs."""
    print(time.strftime("%H:%M:%S"), *what, flush=True)


class Shown(NamedTuple):
    """What a dashboard must show of a call."""

    company: str
    trunk: str
    state: str


class Traffic:
    """The calls of one node: many that stand still, and some that change. ``truth`` is Call-ID →
    what must be shown."""

    def __init__(self, client: Client) -> None:
        self.truth: dict[str, Shown] = {}
        self.lists = 0
        self._client, self._seq, self._epoch = client, 0, now_ms()
        self._facts: dict[str, dict[str, Any]] = {}  # Call-ID → what each event of it repeats
        self._changing: dict[str, list[str]] = {company: [] for company in CHANGING}
        self._numbers = itertools.count()
        self._wanted = asyncio.Event()
        self._running = False

    @property
    def seq(self) -> int:
        return self._seq

    def expected(self, company: str | None, query: str) -> dict[str, Shown]:
        """What a client of ``company`` (None: all calls) with these filters must show."""
        wanted = dict(parse_qsl(query)) | ({} if company is None else {"company_id": company})
        return {
            call: shown
            for call, shown in self.truth.items()
            if shown.company == wanted.get("company_id", shown.company)
            and shown.trunk == wanted.get("trunk", shown.trunk)
            and shown.state == wanted.get("state", shown.state)
        }

    # -- what is published -----------------------------------------------------------------

    async def _publish(self, phase: str, **more: Any) -> None:
        event = {"v": 1, "node": NODE, "epoch": self._epoch, "seq": self._seq, "ts": now_ms()}
        subject = f"call.events.{phase}"
        await self._client.publish(subject, orjson.dumps(event | {"phase": phase} | more))

    def _new(self, company: str) -> str:
        number = next(self._numbers)
        call = f"c{number}"
        self._facts[call] = {
            "call_id": call, "dialog": f"{number}.1", "company_id": company,
            "direction": "inbound", "from": f"+39021{number:06}", "to": f"+39022{number:06}",
            "trunk": f"gw-{number % 20}", "setup_at": now_ms(), "answered_at": now_ms(),
        }  # fmt: skip
        self._show(call, "answered")
        return call

    def _show(self, call: str, state: str) -> None:
        facts = self._facts[call]
        self.truth[call] = Shown(facts["company_id"], facts["trunk"], state)

    def begin(self, standing: int) -> None:
        """All calls are up; engines learn of them by the list that they ask for."""
        for number in range(standing):
            self._new(f"still-{number % 200}")
        for company, calls in CHANGING.items():
            self._changing[company] = [self._new(company) for _ in range(calls)]

    async def _change(self, call: str) -> None:
        held = self.truth[call].state == "held"
        # The number, the truth and a list that is made meanwhile agree: nothing waits in between.
        self._seq += 1
        self._show(call, "answered" if held else "held")
        await self._publish("resume" if held else "hold", **self._facts[call])

    async def _replace(self, company: str) -> None:
        """The oldest call of a company ends, and another one begins."""
        calls = self._changing[company]
        self._seq += 1
        ended = calls.pop(0)
        del self.truth[ended]
        facts = self._facts.pop(ended)
        await self._publish("ended", **facts, ended_at=now_ms(), outcome="answered", by="caller")
        self._seq += 1
        calls.append(self._new(company))
        await self._publish("answered", **self._facts[calls[-1]])

    async def run(self) -> None:
        """Change calls at a rate until :meth:`stop`."""
        self._running = True
        began, turns = time.monotonic(), self._turns()
        for number, (company, call) in enumerate(turns, 1):
            if not self._running:
                return
            if number % REPLACED_EVERY == 0:
                await self._replace(company)
            elif call in self.truth:
                await self._change(call)
            await asyncio.sleep(max(began + number / (RATE * 1.1) - time.monotonic(), 0))

    def _turns(self) -> Iterator[tuple[str, str]]:
        others = itertools.cycle(OTHERS)
        turns = dict.fromkeys(CHANGING, 0)
        for number in itertools.count():
            company = next(others) if number % 11 == 10 else LIGHT
            turns[company] += 1
            calls = self._changing[company]
            yield company, calls[turns[company] % len(calls)]

    def stop(self) -> None:
        """End :meth:`run` after its step; a step is never cut off, so the truth was published."""
        self._running = False

    async def beat(self) -> None:
        while True:
            await self._publish("heartbeat")
            await asyncio.sleep(1)

    @property
    def list_seconds(self) -> float:
        """From one list's beginning to that of the next."""
        return len(self.truth) / LISTED_AT_ONCE * PART_SECONDS + LIST_SECONDS

    # -- lists -----------------------------------------------------------------------------

    async def asked(self, _: Msg) -> None:
        """An engine asks for the list; the bridge answers all who asked meanwhile with one."""
        self._wanted.set()

    async def send_lists(self) -> None:
        """Events go on between the parts of a list; it is true at one number."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self.lists += 1
            items = [
                facts | {"state": state, "held": state == "held"}
                for call, facts in self._facts.items()
                for state in (self.truth[call].state,)
            ]
            parts = [items[at : at + LISTED_AT_ONCE] for at in range(0, len(items), LISTED_AT_ONCE)]
            head = {"sync_id": str(self.lists), "parts": len(parts), "seq": self._seq}
            for number, calls in enumerate(parts, 1):
                await self._publish("sync", **(head | {"part": number, "calls": calls}))
                await asyncio.sleep(PART_SECONDS)
            await asyncio.sleep(LIST_SECONDS)
