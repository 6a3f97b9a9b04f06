"""Promise G: a call whose end was lost leaves the table within a stated bound, and never in
silence. And what must not happen on the way: that a live call is taken for a ghost."""

from __future__ import annotations

import asyncio
import json

import orjson
import pytest
from nats.js.api import StreamConfig

from livestate.contract.events import CDR_SUBJECT
from livestate.devtools.servers import NatsServer
from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.dead_letters import LETTER_BYTES
from livestate.nats.connection import connect
from livestate.nats.jetstream import DEAD_SUBJECT, STREAM, create_at
from livestate.process.tasks import cancel_and_wait
from tests.conftest import World
from tests.harness import Node, Stream, agrees, cdr, metrics, now_ms, publish_cdrs


async def keep(nats: NatsServer) -> None:
    """The streams that an operator makes; this one takes messages of any size."""
    client = await connect(nats.url, "test")
    await client.jetstream().add_stream(StreamConfig(name=STREAM, subjects=[CDR_SUBJECT]))
    await client.close()
    await create_at(nats.url)


async def test_a_cdr_ends_a_call_whose_end_was_lost(world: World) -> None:
    await keep(world.nats)
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as stream:
            await node.call("1.1", company_id="101")
            await stream.until(lambda s: "answered" in s.states.values())
            await node.write_cdr("1.1", outcome="answered", sip_code=200, company_id="101")
            await stream.until(lambda s: not s.dashboard.calls)
            (over,) = stream.named("diff")[-1]["ended"].values()
            assert over["outcome"] == "answered"
            await node.say("ringing", "1.1", company_id="101")  # too late to bring it back
            await node.call("2.2", company_id="101")
            await stream.until(lambda s: "answered" in s.states.values())
            assert len(stream.dashboard.calls) == 1
            await agrees(service, stream, service.token())
        values = await metrics(service)
        assert values["livestate_calls_ended_by_cdr_total"] == 1
        assert values["livestate_cdrs_received_total"] == 1


async def test_cdrs_of_the_time_we_were_away_are_read_before_we_are_ready(world: World) -> None:
    await keep(world.nats)
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        for number in range(20):
            await node.call(f"{number}.{number}")
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: list(s.states.values()) == ["answered"] * 20)
        await service.stop()
        for number in range(20):
            await node.write_cdr(f"{number}.{number}", outcome="answered")
        await service.start()
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            assert stream.dashboard.calls == {}
        values = await metrics(service)
        assert values["livestate_calls_ended_by_cdr_total"] == 20
        # The position lies beside the state: a restart reads only what is new.
        await service.restart()
        await service.until_ready()
        assert (await metrics(service))["livestate_cdrs_received_total"] == 0


async def test_a_poison_cdr_is_put_aside_and_delays_no_other(world: World) -> None:
    await keep(world.nats)
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("1.1")
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: "answered" in s.states.values())
            streams = node.client.jetstream()
            poison = [b"", b"\xff\x00", b"[]", b"{}", orjson.dumps(cdr(node, "1.1") | {"v": 9}),
                      orjson.dumps(cdr(node, "1.1") | {"phase": "ringing"})]  # fmt: skip
            await publish_cdrs(node.client, *poison)
            await node.write_cdr("1.1", outcome="answered")
            await stream.until(lambda s: not s.dashboard.calls)
        aside = await streams.pull_subscribe(DEAD_SUBJECT)
        letters = []
        while len(letters) < len(poison):  # a fetch may bring fewer: they are put aside one by one
            letters += await aside.fetch(len(poison) - len(letters), timeout=5)
        assert [letter.data for letter in letters] == poison
        assert all(letter.headers and letter.headers["Livestate-Reason"] for letter in letters)
        values = await metrics(service)
        assert values['livestate_cdrs_total{result="rejected"}'] == len(poison)
        assert values["livestate_cdr_dead_letters_total"] == len(poison)
        results = sum(values[f'livestate_cdrs_total{{result="{r}"}}']
                      for r in ("applied", "stale", "rejected"))  # fmt: skip
        assert values["livestate_cdrs_received_total"] == results


async def test_a_bad_cdr_that_is_read_again_counts_once(world: World) -> None:
    """Redis that answers late sends the reader back to where the stored table stood."""
    await keep(world.nats)
    client = await connect(world.nats.url, "test")
    taken: list[bytes] = []

    def take(data: bytes) -> str | None:
        taken.append(data)
        return "bad" if data == b"[]" else None

    reader = CdrReader(world.nats.url, take, back_seconds=60)
    await publish_cdrs(client, b"good", b"[]", b"[]")
    for _ in range(2):
        reader.position, reader.caught_up = "", False
        reading = asyncio.create_task(reader.run())
        async with asyncio.timeout(20):
            while not (reader.caught_up and reader.dead_letters.stored >= 2):
                await asyncio.sleep(0.05)
        await cancel_and_wait(reading)
    assert taken == [b"good", b"[]", b"[]", b"good"], "a good one is folded again"
    assert reader.dead_letters.stored == 2
    await client.close()


@pytest.mark.parametrize("size", [LETTER_BYTES + 1, 64 * 1024 - 8, 512 * 1024])
async def test_the_longest_poison_cdr_delays_no_other(world: World, size: int) -> None:
    await keep(world.nats)
    client = await connect(world.nats.url, "test")
    streams = client.jetstream()
    poison = b"x" * size
    await publish_cdrs(client, poison, b"[]")
    reader = CdrReader(world.nats.url, lambda data: "bad", back_seconds=60)
    reading = asyncio.create_task(reader.run())
    async with asyncio.timeout(20):
        while reader.dead_letters.stored < 2:
            await asyncio.sleep(0.05)
    letters = await (await streams.pull_subscribe(DEAD_SUBJECT)).fetch(2, timeout=5)
    assert letters[0].data == poison[:LETTER_BYTES]
    assert letters[0].headers is not None
    assert letters[0].headers["Livestate-Bytes"] == str(size)
    assert letters[1].data == b"[]"
    await cancel_and_wait(reading)
    await client.close()


@pytest.mark.parametrize("edited", [
    "nonsense", "[]", "7", '{"stream":%s}', '{"stream":%s,"seq":"7"}', '{"stream":%s,"seq":-7}',
])  # fmt: skip
async def test_from_an_edited_position_cdrs_are_read_as_far_back_as_calls_are_remembered(
    world: World, edited: str
) -> None:
    await keep(world.nats)
    client = await connect(world.nats.url, "test")
    streams = client.jetstream()
    born = orjson.dumps(str((await streams.stream_info(STREAM)).created)).decode()
    read: list[bytes] = []
    position = edited.replace("%s", born)
    reader = CdrReader(world.nats.url, read.append, position=position, back_seconds=60)
    reading = asyncio.create_task(reader.run())
    await publish_cdrs(client, b"one")
    async with asyncio.timeout(20):
        while not read:
            await asyncio.sleep(0.05)
            assert not reading.done()
    assert read == [b"one"]
    await cancel_and_wait(reading)
    await client.close()


@pytest.mark.slow
async def test_a_hundred_thousand_cdrs_do_not_delay_what_is_live(world: World) -> None:
    """The latency of one change while they are read, beside that of quiet times."""
    await keep(world.nats)
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as stream:
            await node.call("1.1")
            await stream.until(lambda s: "answered" in s.states.values())

            async def change(phase: str, state: str) -> float:
                loop = asyncio.get_running_loop()
                began = loop.time()
                await node.say(phase, "1.1")
                await stream.until(lambda s: state in s.states.values())
                return loop.time() - began

            old = cdr(node, "0.0", outcome="busy", phase="failed")
            await publish_cdrs(node.client, *(
                orjson.dumps(old | {"dialog": f"9.{n}", "call_id": f"{n}@old", "seq": 10**6 + n})
                for n in range(100_000)
            ))  # fmt: skip
            took = []
            while (await metrics(service))["livestate_cdrs_waiting"] > 1_000:
                took.append(await change("hold", "held"))
                took.append(await change("resume", "answered"))
            took.sort()
            assert not took or took[len(took) // 2] < 0.5
        # More than are remembered were read, and all were counted.
        async with asyncio.timeout(30):
            while (await metrics(service))["livestate_cdrs_received_total"] < 100_000:
                await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_calls_of_a_dead_node_are_marked_then_given_up_by_an_event(world: World) -> None:
    service = world.service(REAP_SECONDS="3")
    async with (
        service,
        await Node.connect(world.nats.url) as dead,
        await Node.connect(world.nats.url) as alive,
    ):
        published: list[dict[str, object]] = []

        async def hear(message: object) -> None:
            published.append(json.loads(message.data))  # type: ignore[attr-defined]

        await alive.client.subscribe("call.events.lost", cb=hear)
        await service.until_ready()
        await dead.call("1.1", company_id="101")
        await alive.call("2.2", company_id="101")
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: list(s.states.values()) == ["answered"] * 2)
            dead.silence()
            await stream.until(
                lambda s: [h for h in s.named("heartbeat") if h["source"] == "stale"], 10
            )
            await stream.until(
                lambda s: (
                    [c.get("unconfirmed") for c in s.dashboard.calls.values()].count(True) == 1
                ),
                20,
            )
            await stream.until(lambda s: len(s.dashboard.calls) == 1, 10)
            (over,) = stream.named("diff")[-1]["ended"].values()
            assert over["outcome"] == "lost"
            assert list(stream.states) == [f"2.2@{alive.name}"]
            assert [(one["node"], one["call_id"]) for one in published] == [
                (dead.name, f"1.1@{dead.name}")
            ]
            # It was only cut off: its list brings its calls back.
            await dead.list({"call_id": f"1.1@{dead.name}", "dialog": "1.1", "state": "answered"})
            await stream.until(lambda s: list(s.states.values()) == ["answered"] * 2)
            await agrees(service, stream, service.token())
        assert (await metrics(service))["livestate_calls_given_up_total"] == 1


async def test_a_forged_or_late_end_of_a_call_that_is_well_changes_nothing(world: World) -> None:
    service = world.service()
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        await node.call("1.1")
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: "answered" in s.states.values())
            await node.publish("lost", {
                "v": 1, "node": node.name, "epoch": node.epoch, "seq": node.seq + 9,
                "ts": now_ms(), "call_id": f"1.1@{node.name}", "dialog": "1.1",
            })  # fmt: skip
            await node.say("hold", "1.1")
            await stream.until(lambda s: "held" in s.states.values())
        values = await metrics(service)
        assert values['livestate_events_total{result="stale"}'] == 1
        assert values["livestate_calls_given_up_total"] == 0
