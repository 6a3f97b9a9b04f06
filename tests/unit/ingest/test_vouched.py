"""nats-server vouches for the node of each message: the shipped example, on a real server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest

from api.cli.child_service import Instance
from livestate.bridge.cdr_publisher import OLD_MS
from livestate.bridge.spool import Spool
from livestate.contract.errors import Rejected
from livestate.contract.subjects import Subjects
from livestate.devtools.servers import NatsServer, Valkey
from livestate.ingest.pipeline import Pipeline
from livestate.nats.jetstream import STREAM, covers
from livestate.nats.message_ids import ids_since, stored_as
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import troubles
from tests.calls import START
from tests.evapi import Peer
from tests.harness import Node, Stream, cdr, metrics, now_ms, until
from tests.unit.bridge.bridge_rig import check
from tests.unit.bridge.test_cdr_publisher import delivering
from tests.unit.cli.test_cli import run

SHIPPED = Path(__file__).parents[3] / "deploy" / "nats-vouched.conf"
SUBJECT = "nodes.*.call.events.>"


class Guarded(NatsServer):
    """nats-server with the shipped example."""

    def __init__(self, directory: Path, **renamed: str) -> None:
        copied = directory / "nats.conf"
        text = SHIPPED.read_text().replace("store_dir: /var/lib/nats, ", "")
        for old, new in renamed.items():
            text = text.replace(f"{old}.kam-1", f"{old}.{new}")
        copied.write_text(text)
        super().__init__(arguments=("-c", str(copied)))
        names = ("LIVESTATE", "STREAMS", "KAM_1", "KAM_2")
        self.environment = os.environ | {f"{name}_NATS_PASSWORD": "pw" for name in names}

    def url_of(self, user: str) -> str:
        return f"nats://{user}:pw@127.0.0.1:{self.port}"


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with Guarded(tmp_path) as server:
        await make_streams(server)
        yield server


async def make_streams(server: Guarded) -> None:
    code, out = await run(
        "streams", "--create", "--nats-url", server.url_of("streams"), NATS_SUBJECT=SUBJECT
    )
    assert (code, "created CDR and CDR_DEAD" in out) == (0, True), out


async def node_of(server: Guarded, user: str, name: str | None = None) -> Node:
    client = await nats.connect(server.url_of(user), inbox_prefix=b"_INBOX.bridge")
    return Node(client, name or user)


async def test_a_bridge_speaks_for_its_own_node_and_for_no_other(
    guarded: Guarded, tmp_path: Path
) -> None:
    async with Valkey() as redis:
        service = Instance(tmp_path, {
            "NATS_URL": guarded.url_of("livestate"), "REDIS_URL": redis.url,
            "NATS_SUBJECT": SUBJECT, "READY_SECONDS": "1",
        })  # fmt: skip
        async with (
            service,
            await node_of(guarded, "kam-1") as one,
            await node_of(guarded, "kam-2") as two,
        ):
            asked: list[str] = []

            async def hear(message: Any) -> None:
                asked.append(message.subject)

            await one.client.subscribe("call.resync.>", cb=hear)
            await service.until_ready()
            async with await Stream.open(service.url, service.token()) as stream:
                await one.call("1.1")
                await two.call("2.2")
                await stream.until(lambda s: list(s.states.values()) == ["answered"] * 2)

                liar = await node_of(guarded, "kam-2", "kam-1")
                liar.silence()
                liar.epoch = 2**53 - 1
                for phase in ("heartbeat", "recording"):
                    await liar.publish(phase, liar.envelope())
                await liar.list()
                await liar.say("ended", "1.1", call_id="1.1@kam-1")
                await liar.call("9.9")
                await liar.client.jetstream().publish(
                    "cdr.raw", orjson.dumps(cdr(liar, "1.1", call_id="1.1@kam-1"))
                )
                # In its own name: that its copies of another node's calls are over.
                own = await node_of(guarded, "kam-2")
                own.epoch, own.seq = two.epoch, two.seq
                two.seq += 2
                mine = {"owner": "kam-1", "call_id": "1.1@kam-1"}
                await own.say("ended", "1.1", **mine)
                await own.say("setup", "8.8", **mine)
                copied = [mine | {"dialog": "8.8", "state": "answered"}]
                await own.publish("copies", own.envelope() | {
                    "sync_id": "c", "part": 1, "parts": 1, "calls": copied})  # fmt: skip
                await own.client.jetstream().publish(
                    "cdr.raw", orjson.dumps(cdr(own, "1.1", **mine))
                )
                await own.client.close()
                await two.call("3.3")
                await stream.until(lambda s: len(s.states) == 3)
                assert set(stream.states) == {"1.1@kam-1", "2.2@kam-2", "3.3@kam-2"}
                values = await metrics(service)
                # The unknown phase is counted as such, and is no word of kam-1 either.
                assert values['livestate_events_rejected_total{reason="forged_node"}'] >= 6
                async with asyncio.timeout(10):
                    while values['livestate_cdrs_total{result="rejected"}'] < 2:
                        await asyncio.sleep(0.1)
                        values = await metrics(service)
                assert values['livestate_listed_calls_rejected_total{reason="forged_node"}'] == 1
                assert values["livestate_node_gaps_total"] == 0

                one.seq += 1
                payload = orjson.dumps(cdr(one, "1.1", outcome="answered"))
                ack = await one.client.jetstream().publish(
                    "cdr.raw", payload, headers={"Nats-Msg-Id": "kam-1-x"}
                )
                assert ack.stream == STREAM
                await stream.until(lambda s: "1.1@kam-1" not in s.states, 10)
                async with asyncio.timeout(10):
                    while not asked:
                        await asyncio.sleep(0.1)
                assert set(asked) == {"call.resync.kam-1"}
                await liar.client.close()


async def test_a_bridge_finds_what_of_its_cdrs_is_stored(guarded: Guarded, tmp_path: Path) -> None:
    """Its own only: what kam-2 stored under an id of kam-1 is none of them."""
    old = now_ms() - OLD_MS - 1_000
    async with await node_of(guarded, "kam-1") as one, await node_of(guarded, "kam-2") as two:
        for node, name in ((one, "kam-1-1-7"), (two, "kam-1-1-8"), (two, "kam-2-1-7")):
            await node.client.jetstream().publish("cdr.raw", b"{}", headers={"Nats-Msg-Id": name})
        streams = one.client.jetstream()
        subjects = (await streams.stream_info(STREAM)).config.subjects or []
        subject = stored_as(subjects, "kam-1")
        async with asyncio.timeout(10):
            found = [name async for names in ids_since(streams, None, subject) for name in names]
        assert found == ["kam-1-1-7"]
    spool = Spool(tmp_path / "spool", most_bytes=1 << 20)
    for seq in (7, 9):
        assert spool.append(f"kam-1-1-{seq}", orjson.dumps({"node": "kam-1", "ts": old}))
    async with delivering(guarded.url_of("kam-1"), spool) as delivery:
        await until(lambda: not len(spool))
        assert (delivery.already_stored, delivery.delivered) == (1, 1)
    spool.close()


@pytest.mark.parametrize(("subjects", "node", "subject"), [
    (["cdr.raw"], "kam-1", "cdr.raw"), (["cdr.>"], "kam-1", "cdr.raw"),
    (["nodes.*.cdr.raw"], "kam-1", "nodes.kam-1.cdr.raw"),
    (["nodes.*.cdr.raw"], "sbc1.example.com", "nodes.sbc1_example_com.cdr.raw"),
    (["a.b.*.cdr.raw"], "kam-1", "a.b.kam-1.cdr.raw"),
    (["nodes.kam-2.cdr.raw", "nodes.kam-1.cdr.raw"], "kam-1", "nodes.kam-1.cdr.raw"),
    (["cdr.raw", "nodes.*.cdr.raw"], "kam-1", "nodes.kam-1.cdr.raw"),
    (["nodes.*.cdr.raw"], "", ">"), (["nodes.>"], "kam-1", ">"), ([], "kam-1", ">"),
])  # fmt: skip
def test_a_bridge_reads_what_is_stored_of_its_own_node(
    subjects: list[str], node: str, subject: str
) -> None:
    assert stored_as(subjects, node) == subject


async def test_a_node_with_dots_in_its_name_is_vouched_for_and_asked(tmp_path: Path) -> None:
    name = "sbc1.example.com"
    server = Guarded(tmp_path, nodes="sbc1_example_com", resync=name)
    async with server, Valkey() as redis:
        await make_streams(server)
        service = Instance(tmp_path, {"NATS_URL": server.url_of("livestate"),
                                      "REDIS_URL": redis.url, "NATS_SUBJECT": SUBJECT,
                                      "READY_SECONDS": "1"})  # fmt: skip
        async with service, await node_of(server, "kam-1", name) as node:
            asked = asyncio.Event()

            async def hear(message: Any) -> None:
                assert message.subject == f"call.resync.{name}"
                asked.set()

            await node.client.subscribe("call.resync.>", cb=hear)
            await service.until_ready()
            async with await Stream.open(service.url, service.token()) as stream:
                await node.call("1.1")
                await stream.until(lambda s: list(s.states.values()) == ["answered"])
                await asyncio.wait_for(asked.wait(), 10)
                node.seq += 1
                await node.client.jetstream().publish(
                    "cdr.raw", orjson.dumps(cdr(node, "1.1", outcome="answered"))
                )
                await stream.until(lambda s: not s.states, 10)


async def test_only_livestate_may_publish_lost_events(guarded: Guarded) -> None:
    errors: list[str] = []

    async def hear(error: Exception) -> None:
        errors.append(str(error).lower())

    client = await nats.connect(
        guarded.url_of("kam-1"), inbox_prefix=b"_INBOX.bridge", error_cb=hear
    )
    for subject in ("call.events.lost", "nodes.kam-2.call.events.setup", "nodes.kam-2.cdr.raw"):
        await client.publish(subject, b"{}")
    await client.flush()
    await client.flush()
    await client.close()
    assert len([error for error in errors if "permissions violation" in error]) == 3


@pytest.mark.slow
async def test_doctor_and_check_find_the_streams_where_nodes_are_vouched_for(
    guarded: Guarded, tmp_path: Path
) -> None:
    async with await node_of(guarded, "kam-1") as one, await node_of(guarded, "kam-2") as two:
        two.seq = -(2**31)
        _, out = await run(
            "doctor", cwd=tmp_path, NATS_URL=guarded.url_of("livestate"), NATS_SUBJECT=SUBJECT
        )
        for line in ("kam-1 send events", "stream CDR: 0 messages", "stream CDR_DEAD: 0 messages",
                     "the numbering of kam-2 is unusable"):  # fmt: skip
            assert line in out
        for complaint in ("does not store", "not of the contract", "no right"):
            assert complaint not in out
        assert one.client.is_connected
        _, out = await run("doctor", cwd=tmp_path, NATS_URL=guarded.url_of("livestate"))
        assert "it does not store cdr.raw" in out  # the setting was forgotten
    async with Peer("kam-1") as peer:
        _, out = await check(peer, guarded.url_of("kam-1"), tmp_path)
    assert "stream CDR: 0 messages" in out
    assert "does not store" not in out


@pytest.mark.parametrize(("pattern", "subject", "right"), [
    ("cdr.raw", "cdr.raw", True), ("cdr.>", "cdr.raw", True), ("cdr.*", "cdr.raw", True),
    (">", "cdr.raw", True), ("cdr.raw.>", "cdr.raw", False), ("cdr", "cdr.raw", False),
    ("*", "cdr.raw", False), ("nodes.*.cdr.raw", "cdr.raw", False),
    ("nodes.*.cdr.raw", "nodes.*.cdr.raw", True), ("nodes.>", "nodes.*.cdr.raw", True),
    ("nodes.kam-1.cdr.raw", "nodes.*.cdr.raw", False), ("cdr.raw", "nodes.*.cdr.raw", False),
])  # fmt: skip
def test_a_streams_subject_covers_what_fits_it(pattern: str, subject: str, right: bool) -> None:
    assert covers(pattern, subject) is right


@pytest.mark.parametrize("pattern", [
    "nodes.>", "*.call.events.>", "nodes.*.call.events.*", "nodes.**.call.events.>", "", ">",
    "nodes..*.call.events.>", "a b.*.call.events.>", "nodes.*.*.call.events.>",
])  # fmt: skip
def test_a_subject_that_vouches_for_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"call\.events"):
        Subjects(pattern)


@pytest.mark.parametrize(("subject", "claimed", "right"), [
    ("nodes.kam-1.call.events.setup", "kam-1", True),
    ("nodes.kam-1.call.events.setup", "kam-2", False),
    ("nodes.kam-1.call.events.setup", "KAM-1", False),
    ("nodes.sbc1_example_com.call.events.setup", "sbc1.example.com", True),
    ("call.events.setup", "kam-1", False),
    ("call.events.lost", "kam-1", True),
    ("nodes.kam-1.call.events.lost", "kam-1", False),
])  # fmt: skip
def test_a_claim_is_compared_with_what_the_server_says(
    subject: str, claimed: str, right: bool
) -> None:
    subjects = Subjects(SUBJECT)
    if right:
        subjects.check(subjects.of(subject), claimed)
    else:
        with pytest.raises(Rejected, match="forged_node"):
            subjects.check(subjects.of(subject), claimed)


def test_a_refused_message_counts_for_a_name_with_dots() -> None:
    now = START
    nodes = Nodes(stale_after=6_000)
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    pipeline = Pipeline(table, nodes, (), clock=lambda: now, subjects=Subjects(SUBJECT))
    name = "sbc1.example.com"

    def say(phase: str, **facts: Any) -> None:
        message = {"v": 1, "node": name, "epoch": 1, "seq": 1, "ts": now, "phase": phase} | facts
        pipeline.handle(f"nodes.sbc1_example_com.call.events.{phase}", orjson.dumps(message))

    for _ in range(6):
        say("setup", call_id="")  # refused
        say("sync", sync_id="s", part=1, parts=1, calls=7)  # a list that cannot be read
        now += 2_000
        say("heartbeat")
    found = troubles(nodes, NodeClocks(), pipeline.refusals, now)
    assert [(one.node, one.what) for one in found] == [(name, "lists")]
    assert nodes.by_name.keys() == {name}
