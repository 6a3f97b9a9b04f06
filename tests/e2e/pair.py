"""Two Kamailios that replicate their dialogs (DMQ), a bridge beside each, and one service."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import nats
import orjson

from api.cli.child_service import Instance
from livestate.devtools.servers import Valkey
from tests.e2e import callers
from tests.e2e.lab import BridgeProcess, Kamailio, Phones, Planned, free_udp_port, rpc
from tests.harness import Stream, stored_cdrs
from tests.unit.nats.test_rights import Guarded

INBOX: Final = "_INBOX.livestate"


class Paired(Kamailio):
    """One of two; ``meet`` tells it the other one."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.node = f"kam-pair-{number}"
        self._id = number
        self._other: Kamailio = self

    def meet(self, other: Paired) -> None:
        self._other, other._other = other, self

    async def dialogs(self) -> list[dict[str, Any]]:
        return [one for one in await rpc(self.port, "dlg.list") or [] if one["state"] != 5]

    def _command(self) -> list[str]:
        variables = {
            "LIVESTATE_NODE": f'"{self.node}"',
            "LAB_DMQ_SELF": f'"sip:127.0.0.1:{self.sip_port}"',
            "LAB_DMQ_PEER": f'"sip:127.0.0.1:{self._other.sip_port}"',
            "LAB_ID": str(self._id),
        }
        more = (word for name, value in variables.items() for word in ("-A", f"{name}={value}"))
        return [*super()._command(), *more]


class Pair:
    """Two Kamailios, a bridge beside each, and a service with one stream."""

    def __init__(self, home: Path) -> None:
        (home / "nats").mkdir()
        self.nats = Guarded(home / "nats")
        self.redis = Valkey()
        self.first, self.second = Paired(1), Paired(2)
        self.first.meet(self.second)
        self.bridges = [
            BridgeProcess(one.port, self.nats.url_of("bridge"), home / one.node)
            for one in (self.first, self.second)
        ]
        self.service = Instance(home / "keys", {
            "NATS_URL": self.nats.url_of("livestate"), "REDIS_URL": self.redis.url,
            "READY_SECONDS": "1",
        })  # fmt: skip
        self.heard: list[dict[str, Any]] = []

    @classmethod
    @asynccontextmanager
    async def up(cls, home: Path) -> AsyncIterator[Pair]:
        pair = cls(home)
        async with contextlib.AsyncExitStack() as stack:
            enter = stack.enter_async_context
            await asyncio.gather(enter(pair.nats), enter(pair.redis), enter(pair.first),
                                 enter(pair.second))  # fmt: skip
            client = await nats.connect(pair.nats.url_of("livestate"), inbox_prefix=INBOX)
            stack.push_async_callback(client.close)

            async def hear(message: nats.aio.msg.Msg) -> None:
                pair.heard.append(orjson.loads(message.data))

            await client.subscribe("call.events.>", cb=hear)
            await asyncio.gather(enter(pair.service), *map(enter, pair.bridges))
            await pair.service.until_ready()
            pair.phones = await enter(Phones(pair.first))
            pair.stream = await enter(await Stream.open(pair.service.url, pair.service.token()))
            await asyncio.sleep(3)  # SIPp binds its ports; the two greet each other
            yield pair

    def rows(self) -> Counter[tuple[str, str]]:
        return Counter(
            (call["from"], call["state"]) for call in self.stream.dashboard.calls.values()
        )

    def keys(self) -> set[str]:
        return set(self.stream.dashboard.calls)

    async def until_rows(self, calls: list[Planned], seconds: float = 15) -> None:
        wanted = Counter((call.number, "answered") for call in calls)
        try:
            await self.stream.until(lambda _: self.rows() == wanted, seconds)
        except AssertionError:
            raise AssertionError((self.rows(), wanted, self.phones.log()[-500:])) from None

    def hang_up_at_the_other(self, calls: list[Planned]) -> None:
        """Calls by the first whose BYE goes to the second: anycast, or an address that moved."""
        there = f'host="127.0.0.1" port="{self.second.sip_port}" protocol="udp"'
        before, bye, after = callers.caller("talks").partition("  <send retrans")
        while "BYE" not in after.split("]]>")[0]:  # the INVITE and the ACK go to the first
            more, mark, after = after.partition("  <send retrans")
            before += bye + more
            bye = mark
        after = after.replace("[routes]", f"Route: <sip:127.0.0.1:{self.second.sip_port};lr>", 1)
        text = f"{before}  <nop><action><setdest {there}/></action></nop>\n{bye}{after}"
        phones = self.phones
        phones._callers.append(phones._sipp([
            "-sf", str(phones._file("moves.xml", text)), "-inf", str(phones._numbers(calls)),
            "-p", str(free_udp_port()), "-m", str(len(calls)), "-r", "10", "-l", "2000",
            f"127.0.0.1:{self.first.sip_port}",
        ]))  # fmt: skip

    async def link(self, *, up: bool) -> None:
        """Whether each of the two takes what the other sends of its dialogs."""
        for one in (self.first, self.second):
            if up:
                await rpc(one.port, "htable.delete", "susp", "link")
            else:
                await rpc(one.port, "htable.sets", "susp", "link", "down")

    async def cdrs(self) -> list[dict[str, Any]]:
        client = await nats.connect(self.nats.url_of("livestate"), inbox_prefix=INBOX)
        try:
            return [orjson.loads(one.data) for one in await stored_cdrs(client)]
        finally:
            await client.close()

    def published(self, node: str, *phases: str) -> list[dict[str, Any]]:
        return [one for one in self.heard if one["node"] == node and one["phase"] in phases]
