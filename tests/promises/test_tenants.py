"""Promise L: no byte that depends on another company's calls reaches a company's stream."""

from __future__ import annotations

import asyncio
import json
from random import Random

from tests.conftest import World
from tests.harness import Node, Stream, agrees, now_ms, until_folded

COMPANIES = [f"company-{name}" for name in ("alpha", "beta", "gamma", "delta")]


async def churn(node: Node, rounds: int, seed: int) -> None:
    """Calls of all companies that ring, hold, move and end; each says whose it is in every text
    that a caller or a node can choose."""
    chance = Random(seed)
    up: dict[str, str] = {}
    for number in range(rounds):
        company = chance.choice(COMPANIES)
        dialog = f"{number}.{number}"
        up[dialog] = company
        await node.call(dialog, chance.choice(("ringing", "answered", "held")), **texts(company))
        if chance.random() < 0.3:
            moved = chance.choice(sorted(up))
            up[moved] = chance.choice(COMPANIES)
            await node.say("transfer", moved, **texts(up[moved]))
        if len(up) > 20:
            over = chance.choice(sorted(up))
            company = up.pop(over)
            await node.say("ended", over, outcome="answered", **texts(company))
        await asyncio.sleep(0.001)


def texts(company: str) -> dict[str, str]:
    canary = f"canary-{company}"
    return {"company_id": company, "from_": canary, "to": canary, "from_uri": f"sip:{canary}@x",
            "to_uri": f"sip:{canary}@y", "trunk": f"trunk-{company}", "sip_reason": canary,
            "detail": canary}  # fmt: skip


async def test_no_stream_ever_holds_a_canary_of_another_company(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url, "shared-node") as node:
        await service.until_ready()
        tokens = {c: service.token("user", company_id=c, subject=c) for c in COMPANIES}
        churning = asyncio.create_task(churn(node, 400, seed=7))
        raw: dict[str, bytes] = dict.fromkeys(COMPANIES, b"")
        position: dict[str, Stream | None] = dict.fromkeys(COMPANIES)
        chance = Random(8)
        while not churning.done():
            for company in COMPANIES:  # they come, go and come back, some with filters
                known = position[company]
                filtered = chance.random() < 0.2
                stream = await Stream.open(
                    service.url, tokens[company],
                    query={"company_id": chance.choice(COMPANIES), "state": "answered"}
                    if filtered else {"company_id": chance.choice(COMPANIES)},
                    headers={"Last-Event-ID": known.dashboard.last_id} if known else {},
                    dashboard=known.dashboard if known and not filtered else None,
                )  # fmt: skip
                await stream.until(lambda s: s.named("heartbeat"))
                await asyncio.sleep(chance.random() * 0.2)
                await stream.close()
                raw[company] += stream.raw
                position[company] = None if filtered else stream
        await churning
        for company in COMPANIES:
            async with await Stream.open(service.url, tokens[company]) as stream:
                await stream.until(lambda s: s.named("heartbeat"))
                await agrees(service, stream, tokens[company])
                raw[company] += stream.raw
        for company, seen in raw.items():
            assert f"canary-{company}".encode() in seen
            for other in COMPANIES:
                if other != company:
                    assert other.encode() not in seen


async def test_a_quiet_company_sees_nothing_of_a_busy_one(world: World) -> None:
    """Not even in its numbers, or in frames that its own calls did not cause."""
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("own.1", **texts(COMPANIES[0]))
        token = service.token("user", company_id=COMPANIES[0])
        await until_folded(service, token, ["answered"])
        async with await Stream.open(service.url, token) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            before, numbers = len(stream.events), stream.named("heartbeat")[-1]
            for number in range(300):
                await node.call(f"{number}.{number}", **texts(COMPANIES[1]))
            await asyncio.sleep(0.5)
            others = {e.name for e in stream.events[before:]} - {"heartbeat", "kpi"}
            assert others == set()
            await stream.until(lambda s: len(s.named("heartbeat")) > 2, 12)
            beat = stream.named("heartbeat")[-1]
            names = ("version", "calls", "digest")
            assert [beat[name] for name in names] == [numbers[name] for name in names]
            await stream.until(lambda s: len(s.named("kpi")) > 2, 12)
            passing = {"window_seconds", "cps", "series"}  # these tell that time passes
            told_of = [
                {name: value for name, value in one.items() if name not in passing}
                for one in stream.named("kpi")
            ]
            assert told_of[-1] == told_of[0]
            assert (told_of[0]["concurrent"], told_of[0]["offered"]) == (1, 0)


async def test_calls_without_a_company_show_to_all_calls_roles_only(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("1.1")
        await node.publish("setup", {
            "v": 1, "node": node.name, "epoch": node.epoch, "seq": node.seq + 1, "ts": now_ms(),
            "call_id": "unsure", "dialog": "2.2", "company_id": "",
        })  # fmt: skip
        node.seq += 1
        for role in ("admin", "operator", "noc"):
            async with await Stream.open(service.url, service.token(role)) as stream:
                await stream.until(lambda s: s.dashboard.calls)
        for company in ("None", "null", "undefined", "*", "%", "1"):
            token = service.token("user", company_id=company)
            async with await Stream.open(service.url, token) as stream:
                await stream.until(lambda s: s.named("heartbeat"))
                assert json.loads(stream.events[0].data)["calls"] == {}
