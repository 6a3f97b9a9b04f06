"""A real nats-server that takes little: every list arrives whole, no call ends as lost, and what
cannot be published is counted, logged and not asked for again and again."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from livestate.contract.events import CDR_SUBJECT
from livestate.contract.messages import message_for
from livestate.devtools.cdr_writer import CdrWriter
from livestate.devtools.publisher import Publisher
from livestate.devtools.servers import NatsServer
from livestate.devtools.simulator import Network, Traffic
from livestate.ingest.cdr_reader import CdrReader
from livestate.nats.connection import Connection
from livestate.nats.jetstream import CDRS, DEAD_SUBJECT, create_at
from livestate.process.tasks import cancel_and_wait
from tests.conftest import World
from tests.evapi import Peer
from tests.harness import Stream, metrics, now_ms, snapshot, until
from tests.unit.bridge.bridge_rig import Received, bridging

LONG = '"' + "Зал ожидания " * 12 + '" <sip:390612345678@acme.example;x=' + "y" * 90 + ">"


class Small(NatsServer):
    """nats-server with a configuration that a test may change while it runs."""

    def __init__(self, directory: Path, configuration: str) -> None:
        self.file = directory / "nats.conf"
        super().__init__(arguments=("-c", str(self.file)))
        self.configure(configuration)

    def configure(self, configuration: str) -> None:
        # Its name and directory are on the command line; a reload may not seem to change them.
        self.file.write_text(f'server_name: "{self._tag}"\n{configuration}')

    def reload(self, configuration: str) -> None:
        self.configure(configuration)
        self._signal(signal.SIGHUP)


@asynccontextmanager
async def small(directory: Path, configuration: str) -> AsyncIterator[Small]:
    async with Small(directory, configuration) as server:
        yield server


def long_calls(peer: Peer, *calls: int, says: bool = True) -> None:
    """Answered calls with long headers, in the node's table and, where it ``says``, as events."""
    for number in calls:
        for kind in ("setup", "answered") if says else ():
            peer.say(kind, number, from_uri=LONG, to_uri=LONG, ruri_user="9" * 200)
        listed = {"h_entry": number, "h_id": 1, "call-id": f"{number}@{peer.name}", "state": 4,
                  "from_uri": LONG, "to_uri": LONG,
                  "variables": [{"ls_company": "101"}, {"ls_dialled": "9" * 200}]}  # fmt: skip
        peer.dialogs[number] = listed


@pytest.mark.slow
@pytest.mark.parametrize("most", [64 * 1024, 4 * 1024], ids=["64 KB", "4 KB"])
@pytest.mark.parametrize("calls", [205, 2_000])
async def test_many_calls_with_long_headers_stay_up_where_messages_are_small(
    calls: int, most: int, world: World, tmp_path: Path
) -> None:
    """With the service in the loop: what it shows is what the node has."""
    async with small(tmp_path, f"max_payload: {most}\n") as server, Peer() as peer:
        await create_at(server.url)
        long_calls(peer, *range(1, calls + 1), says=False)
        service = world.service(NATS_URL=server.url, READY_SECONDS="10")
        async with bridging(peer, server.url, tmp_path / "spool", list_seconds=2) as bridge:
            async with service:
                await service.until_ready(30)
                async with await Stream.open(service.url, service.token()) as stream:
                    await stream.until(lambda s: len(s.states) == calls, 30)
                    long_calls(peer, calls + 1)  # also a single event is long
                    lists = bridge.counts.lists
                    await until(lambda: bridge.counts.lists >= lists + 2)
                    await stream.until(lambda s: len(s.states) == calls + 1)
                    assert not stream.named("diff")[-1].get("ended")
                values = await metrics(service)
                assert values["livestate_calls_lost_total"] == 0
                assert values['livestate_events{result="rejected"}'.replace("{", "_total{")] == 0
                shown = (await snapshot(service, service.token()))["calls"].values()
                assert {call["company_id"] for call in shown} == {"101"}
        assert sum(bridge.outbox.refused.values()) == bridge.outbox.refused["disconnected"]
        assert (bridge.counts.bad, bridge.source.defects) == (0, 0)  # type: ignore[attr-defined]


async def test_long_events_and_their_cdrs_pass_where_messages_are_small(tmp_path: Path) -> None:
    async with small(tmp_path, "max_payload: 4096\n") as server, Peer() as peer:
        await create_at(server.url)
        async with Received.on(server.url) as received:
            async with bridging(peer, server.url, tmp_path / "spool") as bridge:
                await until(lambda: received.lists)
                nasty = "sip:" + "\x01" * 3_000 + "@x"
                for kind in ("setup", "ended"):
                    peer.say(kind, 1, from_uri=nasty, to_uri=nasty, sip_reason=nasty, detail=nasty,
                             ruri_user=nasty)  # fmt: skip
                peer.call(2)
                await until(lambda: received.phases("answered"))
                await until(lambda: bridge.cdr_publisher.delivered == 1)
            assert [one["dialog"] for one in received.phases("setup", "ended")] == [
                "1.1",
                "1.1",
                "2.1",
            ]
            assert await received.cdrs() == ["1.1"]
            refused = bridge.outbox.refused
            assert refused.total() == refused["disconnected"]  # beats of before the connection


async def test_a_server_that_takes_less_after_a_restart_gets_shorter_parts(tmp_path: Path) -> None:
    """As the next server of a cluster may."""
    async with small(tmp_path, "max_payload: 262144\n") as server, Peer() as peer:
        long_calls(peer, *range(1, 206), says=False)
        async with Received.on(server.url) as received:
            async with bridging(peer, server.url, tmp_path / "spool"):
                await until(lambda: received.lists)
                assert received.phases("sync")[0]["parts"] == 2
                await server.kill()
                server.configure("max_payload: 8192\n")
                await server.start()
                await until(lambda: received.phases("sync")[-1]["parts"] > 20)
                await until(lambda: len({d for one in received.lists[2:] for d in one}) == 205)


@pytest.mark.slow
@pytest.mark.parametrize(
    "later",
    [
        "max_payload: 8192\n",
        "accounts { A { users: [{user: a, password: a}], limits { max_payload: 8192 } } }\n"
        "no_auth_user: a\n",
    ],
    ids=["reloaded", "limit of the account"],
)
async def test_a_server_that_takes_less_than_it_said_ends_no_list_for_good(
    later: str, tmp_path: Path
) -> None:
    """A reload changes what INFO said, and an account's own limit INFO never says: the server
    closes the connection over a longer message."""
    async with small(tmp_path, "max_payload: 262144\n") as server, Peer() as peer:
        long_calls(peer, *range(1, 206), says=False)
        async with bridging(peer, server.url, tmp_path / "spool", list_seconds=2):
            async with Received.on(server.url) as received:
                await until(lambda: received.lists)
            if "accounts" in later:
                await server.kill()
                server.configure(later)
                await server.start()
            else:
                server.reload(later)
            await asyncio.sleep(0.5)
            async with Received.on(server.url) as received:

                def arrived() -> set[str]:
                    """In parts that the server takes now; for a while it takes longer ones."""
                    parts = [p for p in received.phases("sync") if len(orjson.dumps(p)) <= 8_192]
                    return {call["dialog"] for part in parts for call in part["calls"]}

                await until(lambda: len(arrived()) == 205, 30)


@pytest.mark.slow
async def test_a_list_that_nats_refuses_is_asked_for_ever_less_often(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deny = (
        "authorization { users: [{user: b, password: b, permissions: {publish: {deny: "
        '"call.events.sync"}}}] }\n'
    )
    async with small(tmp_path, deny) as server, Peer() as peer:
        url = server.url.replace("//", "//b:b@")
        peer.call(1)
        with caplog.at_level(logging.WARNING):
            async with bridging(peer, url, tmp_path / "spool", list_seconds=60) as bridge:
                await asyncio.sleep(9)
                asked = peer.asked.count("dlg.list")
                refused = bridge.outbox.refused["not_allowed"]
                assert 3 <= asked <= 5  # 1, 2, 4 … s apart, not each second
                assert refused >= 3
    assert "cannot publish: reason=not_allowed subject=call.events.sync" in caplog.text


async def test_a_list_too_long_for_the_server_is_counted_and_not_sent_by_halves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livestate.contract.encoding.MAX_PARTS", 3)
    async with small(tmp_path, "max_payload: 4096\n") as server, Peer() as peer:
        long_calls(peer, *range(1, 206), says=False)
        async with (
            Received.on(server.url) as received,
            bridging(peer, server.url, tmp_path / "spool") as bridge,
        ):
            await until(lambda: bridge.outbox.refused["too_many_parts"])
            peer.call(900)
            await until(lambda: received.phases("answered"))  # events go on
            assert received.lists == []
    assert "reason=too_many_parts" in caplog.text
    assert "bytes=" in caplog.text


# -- CDRs --------------------------------------------------------------------------------------


async def resized(received: Received, most: int) -> None:
    """The operator of the stream allows messages of so many bytes."""
    config = CDRS.config(1)
    config.max_msg_size = most
    await received.client.jetstream().update_stream(config)


@pytest.mark.slow
async def test_a_stream_that_takes_less_gets_shorter_cdrs_and_none_holds_up_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with small(tmp_path, "") as server, Peer() as peer:
        await create_at(server.url)
        async with Received.on(server.url) as received:
            await resized(received, 450)  # bytes, the header's among them
            async with bridging(peer, server.url, tmp_path / "spool") as bridge:
                await until(lambda: received.lists)
                # The first cannot be made short enough: its Call-ID and company are no text.
                peer.say("ended", 1, call_id="c" * 500, company_id="1" * 64)
                for number in range(2, 40):
                    peer.say("ended", number, from_uri=LONG, to_uri=LONG, detail="d" * 200)
                await until(lambda: bridge.cdr_publisher.delivered == 38)
                assert len(bridge.spool) == 1
                assert bridge.cdr_publisher.limits.refusals >= 1
                await resized(received, 64 * 1024)
                await until(lambda: bridge.cdr_publisher.delivered == 39)
            assert sorted(await received.cdrs()) == sorted(f"{n}.1" for n in range(1, 40))
    assert "a CDR is not taken, the others go on" in caplog.text
    assert "bytes=" in caplog.text


async def test_a_cdr_as_long_as_the_server_takes_costs_no_connection(tmp_path: Path) -> None:
    """nats-py compares the data with max_payload, the server counts the header too: nats.py#888."""
    cdr = {"v": 1, "node": "kam-1", "epoch": 1, "seq": 1, "ts": now_ms(), "call_id": "c",
           "dialog": "1.1", "outcome": "answered"}  # fmt: skip
    async with small(tmp_path, "max_payload: 4096\n") as server:
        await create_at(server.url)
        connection = Connection(server.url, "test")
        async with connection.running():
            await connection.until_connected()
            writer = CdrWriter(connection)
            writing = asyncio.create_task(writer.run())
            for seq in range(1, 8):  # all lengths around the limit, by texts of all sizes
                texts = dict.fromkeys(("from", "to", "from_uri", "to_uri"), "\1" * (140 + 5 * seq))
                writer.write(message_for("ended", cdr | texts | {"seq": seq}).message)
            await until(lambda: writer.written == 7)
            await cancel_and_wait(writing)
            assert connection.connects == 1


async def test_a_bad_cdr_is_put_aside_where_messages_are_small(tmp_path: Path) -> None:
    async with small(tmp_path, "") as server:
        await create_at(server.url)
        async with Received.on(server.url) as received:
            streams = received.client.jetstream()
            poison = orjson.dumps({"phase": "ri\r\nX-Injected: yes", "x": "y" * 40_000})
            for data in (poison, b"[]"):
                await streams.publish(CDR_SUBJECT, data)
        await server.kill()
        server.configure("max_payload: 4096\n")
        await server.start()
        reader = CdrReader(server.url, lambda data: f"bad: {data[:40]!r}\r\nX: y", back_seconds=60)
        reading = asyncio.create_task(reader.run())
        await until(lambda: reader.dead_letters.stored == 2, 20)
        async with Received.on(server.url) as received:
            aside = await received.client.jetstream().pull_subscribe(DEAD_SUBJECT)
            letters = await aside.fetch(2, timeout=5)
        assert poison.startswith(letters[0].data)
        assert 0 < len(letters[0].data) < 4_096
        assert letters[0].headers is not None
        assert letters[0].headers["Livestate-Bytes"] == str(len(poison))
        assert "X" not in letters[0].headers
        assert letters[1].data == b"[]"
        await cancel_and_wait(reading)


async def test_a_simulated_node_cuts_its_lists_as_well(tmp_path: Path) -> None:
    async with small(tmp_path, "max_payload: 8192\n") as server:
        await create_at(server.url)
        network = Network(Traffic(cps=400, nodes=1, calls=600, seed=3), now_ms() - 3_000)
        publisher = Publisher(server.url, network, clock=now_ms)
        async with Received.on(server.url) as received:
            publishing = asyncio.create_task(publisher.run())
            await until(lambda: network.live > 100, 20)
            await received.client.publish("call.resync.sim-1")
            await until(lambda: any(one["parts"] > 3 for one in received.phases("sync")))
            assert publisher.unsent == 0
            assert publisher.outbox.refused.total() == 0
            await cancel_and_wait(publishing)
