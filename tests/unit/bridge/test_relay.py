"""The bridge between an evapi that a test plays and a real NATS: when it asks for lists, what it
keeps, and what waits for whom."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from nats.js.api import DiscardPolicy, StreamConfig

from livestate.devtools.servers import NatsServer
from livestate.nats.jetstream import STREAM
from tests.evapi import Peer
from tests.harness import until
from tests.unit.bridge.bridge_rig import Received, bridging
from tests.unit.nats.test_rights import Guarded


async def test_events_pass_in_their_order_and_a_list_comes_first(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    peer.call(1)  # before anybody listens
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: received.lists)
        assert received.lists == [["1.1"]]
        assert received.phases("sync")[0]["seq"] == 3
        peer.call(2)
        peer.hang_up(1, 2)
        await until(lambda: len(received.phases("ended")) == 2)
        events = [m for m in received.messages if m["phase"] not in ("sync", "heartbeat")]
        assert [(m["phase"], m["seq"]) for m in events] == [
            ("setup", 4), ("ringing", 5), ("answered", 6), ("ended", 7), ("ended", 8)
        ]  # fmt: skip
        assert {m["epoch"] for m in received.messages} == {peer.epoch}
        await until(lambda: bridge.cdr_publisher.delivered == 2)
    assert await received.cdrs() == ["1.1", "2.1"]


async def test_events_of_one_read_share_a_message_where_the_bridge_is_told_to(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path, batch=2) as bridge:
        await until(lambda: received.lists)
        for number in range(1, 11):
            peer.call(number)
        peer.hang_up(*range(1, 11))
        await until(lambda: len(received.phases("ended")) == 10)
        events = [m for m in received.messages if m["phase"] not in ("sync", "heartbeat")]
        assert [m["seq"] for m in events] == list(range(1, 41))
        assert len(received.batches) > 0
        assert set(received.batches) == {2}
        assert bridge.counts.dropped == 0
        await until(lambda: bridge.counts.published == len(received.messages))


async def test_a_node_without_calls_beats(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path):
        await until(lambda: len(received.phases("heartbeat")) >= 3 and received.lists)
        assert {m["seq"] for m in received.phases("heartbeat")} == {0}
        assert received.lists == [[]]


async def test_livestate_gets_the_list_that_it_asks_for_and_no_other_nodes(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path):
        await until(lambda: received.lists and received.phases("heartbeat"))
        peer.call(1)
        await received.client.publish("call.resync.kam-other-1")
        await received.client.publish(f"call.resync.{peer.name}")
        await until(lambda: len(received.lists) == 2)
        assert received.lists[1] == ["1.1"]
        assert peer.asked.count("dlg.list") == 2  # at the start, and for us


async def test_lists_come_by_themselves_too(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path, list_seconds=0.2):
        await until(lambda: len(received.lists) >= 3)


async def test_a_kamailio_that_restarts_is_a_new_epoch_with_a_list_of_its_own(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        peer_epoch = peer.epoch
        await until(lambda: received.lists)
        peer.call(1, 2)
        await until(lambda: len(received.phases("answered")) == 2)
        peer.restart()
        await until(lambda: received.phases("sync")[-1]["epoch"] == peer_epoch + 1)
        assert received.lists[-1] == []
        peer.call(3)
        peer.hang_up(3)
        await until(lambda: bridge.cdr_publisher.delivered == 1)
    assert await received.cdrs() == ["3.1"]  # number 4 in both epochs: another id


async def test_a_connection_without_netstrings_is_replaced(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: received.lists)
        for frame in (b"[]", b"no JSON", b'{"ev":"nope"}', b'{"ev":"ended"}', b"\xff\xfe",
                      b"[" * 100_000):  # fmt: skip
            peer.send(frame)
        peer.call(1)
        await until(lambda: received.phases("answered"))
        assert bridge.counts.bad == 6
        peer.send_raw(b"HTTP/1.1 200 OK\r\n\r\n")
        await until(lambda: len(received.lists) == 2)
        assert bridge.source.connections == 2


async def test_a_name_that_is_no_text_hides_neither_its_call_nor_a_list(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path, list_seconds=0.2):
        await until(lambda: received.lists)
        peer.say("setup", 1)
        for spoilt in (rb"\ud800", b"\xff\xfe", b"\x01", rb"\ud83d\ude00"):
            frame = orjson.dumps(peer.frame("setup", 2)).replace(b"sip:2@", b"sip:" + spoilt + b"@")
            peer.send(frame)
        await until(lambda: len(received.phases("setup")) == 5)
        await until(lambda: received.lists[-1] == ["1.1"])


async def test_a_kamailio_that_is_down_is_waited_for(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    peer.stop()
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await asyncio.sleep(0.3)
        assert bridge.source.connections == 0
        await peer.start()
        await until(lambda: received.lists)


async def test_a_refused_nats_login_is_logged_once_without_password(
    peer: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Guarded(tmp_path) as nats_server:
        url = nats_server.url.replace("://", "://bridge:not-this-one@")
        async with bridging(peer, url, tmp_path / "spool"):
            await until(lambda: "Authorization Violation" in caplog.text)
            await asyncio.sleep(1.5)  # two more attempts
    assert caplog.text.count("Authorization Violation") == 1
    assert "not-this-one" not in caplog.text


async def test_without_nats_events_are_dropped_counted_and_listed_later(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path, list_seconds=0.5) as bridge:
        await until(lambda: received.lists)
        await nats_server.kill()
        await until(lambda: not bridge.connection.connected)
        peer.call(*range(1, 11))
        peer.hang_up(*range(1, 8))
        await until(lambda: bridge.counts.cdrs == 7)
        assert bridge.counts.dropped >= 37
        await nats_server.start()
        await until(lambda: received.lists[-1] == ["8.1", "9.1", "10.1"])
        await until(lambda: bridge.cdr_publisher.delivered == 7)
    assert sorted(await received.cdrs()) == sorted(f"{n}.1" for n in range(1, 8))


async def test_no_live_event_waits_for_a_cdr(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    """The stream takes none: they pile up on the disk, and events pass."""
    streams = received.client.jetstream()
    await streams.delete_stream(STREAM)
    await streams.add_stream(StreamConfig(
        name=STREAM, subjects=["cdr.raw"], max_msgs=1, discard=DiscardPolicy.NEW
    ))  # fmt: skip
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: received.lists)
        for call in range(1, 201):
            peer.call(call)
            peer.hang_up(call)
        await until(lambda: len(received.phases("ended")) == 200)
        assert bridge.counts.dropped == 0
        assert len(bridge.spool) >= 199
        await until(lambda: bridge.cdr_publisher.trouble)
        await streams.update_stream(StreamConfig(name=STREAM, subjects=["cdr.raw"], max_msgs=-1))
        await until(lambda: bridge.cdr_publisher.delivered == 200)
    assert sorted(await received.cdrs()) == sorted(f"{n}.1" for n in range(1, 201))


async def test_a_spool_that_is_full_leaves_the_rest_with_kamailio_and_loses_none(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(
        peer, nats_server.url, tmp_path, spool_bytes=4_000, list_seconds=0.3
    ) as bridge:
        await until(lambda: received.lists)
        await nats_server.kill()
        await until(lambda: not bridge.connection.connected)
        peer.call(*range(1, 31))
        peer.hang_up(*range(1, 31))
        await until(lambda: bridge.spool.lost)
        assert 0 < len(bridge.spool) < 30
        await nats_server.start()
        await until(lambda: bridge.cdr_publisher.delivered == 30)
        await until(lambda: not peer.kept)
    assert sorted(await received.cdrs()) == sorted(f"{n}.1" for n in range(1, 31))


async def test_kamailio_forgets_an_end_once_it_is_on_disk(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: received.lists)
        peer.call(1)
        peer.hang_up(1)
        await until(lambda: bridge.counts.cdrs == 1)
        await until(lambda: not peer.kept)
        assert "htable.delete" in peer.asked
