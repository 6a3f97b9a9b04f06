"""The bridge between an evapi that a test plays and a real NATS: when it asks for lists, what it
keeps, and what waits for whom."""

from __future__ import annotations

import asyncio
import sysconfig
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import nats
import orjson
import pytest
from nats.js.api import DiscardPolicy, StreamConfig

from livestate.runtime.bridge import Bridge
from livestate.runtime.cdrs import STREAM
from livestate.runtime.embedded import NatsServer
from livestate.runtime.ending import end
from tests.evapi import Peer
from tests.harness import UNACKED, now_ms
from tests.test_rights import Guarded

LIVESTATE = str(Path(sysconfig.get_path("scripts")) / "livestate")


class Heard:
    """What a bridge published, as livestate hears it."""

    def __init__(self, client: nats.aio.client.Client) -> None:
        self.messages: list[dict[str, Any]] = []
        self.client = client

    @classmethod
    @asynccontextmanager
    async def on(cls, url: str) -> AsyncIterator[Heard]:
        client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1,
                                    error_cb=_quiet)  # fmt: skip
        heard = cls(client)

        async def take(message: nats.aio.msg.Msg) -> None:
            told = orjson.loads(message.data)
            assert message.subject == f"call.events.{told['phase']}"
            heard.messages.append(told)

        await client.subscribe("call.events.>", cb=take)
        await client.flush()
        try:
            yield heard
        finally:
            await client.close()

    def phases(self, *phases: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["phase"] in phases]

    @property
    def lists(self) -> list[list[str]]:
        """The calls of each list, in the order they came."""
        return [[call["dialog"] for call in told["calls"]] for told in self.phases("sync")]

    async def cdrs(self) -> list[str]:
        """The calls of the CDRs that the stream holds."""
        reader = await self.client.jetstream().pull_subscribe(
            "cdr.raw", stream=STREAM, config=UNACKED
        )
        left = (await reader.consumer_info()).num_pending or 0
        found: list[str] = []
        while left:
            for message in await reader.fetch(left, timeout=5):
                left = message.metadata.num_pending
                found.append(orjson.loads(message.data)["dialog"])
        await reader.unsubscribe()
        return found


async def _quiet(error: Exception) -> None:
    """NATS is killed in some tests."""


@asynccontextmanager
async def bridging(
    peer: Peer, url: str, spool: Path, *, spool_bytes: int = 1024 * 1024, list_seconds: float = 60
) -> AsyncIterator[Bridge]:
    """A bridge that is killed at the end: nothing waits for its last words."""
    bridge = Bridge(("127.0.0.1", peer.port), url, spool, clock=now_ms, spool_bytes=spool_bytes,
                    list_seconds=list_seconds)  # fmt: skip
    task = asyncio.create_task(bridge.run())
    try:
        yield bridge
    finally:
        await end(task)


async def until(wanted: Callable[[], object], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not wanted():
            await asyncio.sleep(0.02)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


@pytest.fixture
async def heard(nats_server: NatsServer) -> AsyncIterator[Heard]:
    async with Heard.on(nats_server.url) as heard:
        yield heard


async def test_events_pass_in_their_order_and_a_list_comes_first(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    peer.call(1)  # before anybody listens
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: heard.lists)
        assert heard.lists == [["1.1"]]
        assert heard.phases("sync")[0]["seq"] == 3
        peer.call(2)
        peer.hang_up(1, 2)
        await until(lambda: len(heard.phases("ended")) == 2)
        told = [m for m in heard.messages if m["phase"] not in ("sync", "heartbeat")]
        assert [(m["phase"], m["seq"]) for m in told] == [
            ("setup", 4), ("ringing", 5), ("answered", 6), ("ended", 7), ("ended", 8)
        ]  # fmt: skip
        assert {m["epoch"] for m in heard.messages} == {peer.epoch}
        await until(lambda: bridge.delivery.delivered == 2)
    assert await heard.cdrs() == ["1.1", "2.1"]


async def test_a_node_without_calls_beats(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path):
        await until(lambda: len(heard.phases("heartbeat")) >= 3 and heard.lists)
        assert {m["seq"] for m in heard.phases("heartbeat")} == {0}
        assert heard.lists == [[]]


async def test_livestate_gets_the_list_that_it_asks_for_and_no_other_nodes(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path):
        await until(lambda: heard.lists and heard.phases("heartbeat"))
        peer.call(1)
        await heard.client.publish("call.resync.kam-other-1")
        await heard.client.publish(f"call.resync.{peer.name}")
        await until(lambda: len(heard.lists) == 2)
        assert heard.lists[1] == ["1.1"]
        assert peer.asked.count("dlg.list") == 2  # at the start, and for us


async def test_lists_come_by_themselves_too(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path, list_seconds=0.2):
        await until(lambda: len(heard.lists) >= 3)


async def test_a_kamailio_that_restarts_is_a_new_epoch_with_a_list_of_its_own(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        peer_epoch = peer.epoch
        await until(lambda: heard.lists)
        peer.call(1, 2)
        await until(lambda: len(heard.phases("answered")) == 2)
        peer.restart()
        await until(lambda: heard.phases("sync")[-1]["epoch"] == peer_epoch + 1)
        assert heard.lists[-1] == []
        peer.call(3)
        peer.hang_up(3)
        await until(lambda: bridge.delivery.delivered == 1)
    assert await heard.cdrs() == ["3.1"]  # number 4 in both epochs: another id


async def test_a_connection_that_speaks_no_netstrings_is_begun_anew(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: heard.lists)
        for frame in (b"[]", b"no JSON", b'{"ev":"nope"}', b'{"ev":"ended"}', b"\xff\xfe",
                      b"[" * 100_000):  # fmt: skip
            peer.send(frame)
        peer.call(1)
        await until(lambda: heard.phases("answered"))
        assert bridge.counts.bad == 6
        peer.send_raw(b"HTTP/1.1 200 OK\r\n\r\n")
        await until(lambda: len(heard.lists) == 2)
        assert bridge.counts.connected == 2


async def test_a_name_that_is_no_text_hides_neither_its_call_nor_a_list(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path, list_seconds=0.2):
        await until(lambda: heard.lists)
        peer.say("setup", 1)
        for spoilt in (rb"\ud800", b"\xff\xfe", b"\x01", rb"\ud83d\ude00"):
            frame = orjson.dumps(peer.frame("setup", 2)).replace(b"sip:2@", b"sip:" + spoilt + b"@")
            peer.send(frame)
        await until(lambda: len(heard.phases("setup")) == 5)
        await until(lambda: heard.lists[-1] == ["1.1"])


async def test_a_kamailio_that_is_down_is_waited_for(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    peer.stop()
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await asyncio.sleep(0.3)
        assert bridge.counts.connected == 0
        await peer.start()
        await until(lambda: heard.lists)


async def test_a_nats_that_lets_it_not_in_is_told_once_and_without_the_password(
    peer: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Guarded(tmp_path) as nats_server:
        url = nats_server.url.replace("://", "://bridge:not-this-one@")
        async with bridging(peer, url, tmp_path / "spool"):
            await until(lambda: "Authorization Violation" in caplog.text)
            await asyncio.sleep(1.5)  # two more attempts
    assert caplog.text.count("Authorization Violation") == 1
    assert "not-this-one" not in caplog.text


async def test_while_nats_is_away_events_are_dropped_and_counted_and_a_list_tells_the_rest(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path, list_seconds=0.5) as bridge:
        await until(lambda: heard.lists)
        await nats_server.kill()
        await until(lambda: not bridge._client.is_connected)
        peer.call(*range(1, 11))
        peer.hang_up(*range(1, 8))
        await until(lambda: bridge.counts.cdrs == 7)
        assert bridge.counts.dropped >= 37
        await nats_server.start()
        await until(lambda: heard.lists[-1] == ["8.1", "9.1", "10.1"])
        await until(lambda: bridge.delivery.delivered == 7)
    assert sorted(await heard.cdrs()) == sorted(f"{n}.1" for n in range(1, 8))


async def test_no_live_event_waits_for_a_cdr(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    """The stream takes none: they pile up on the disk, and events pass."""
    streams = heard.client.jetstream()
    await streams.add_stream(StreamConfig(
        name=STREAM, subjects=["cdr.raw"], max_msgs=1, discard=DiscardPolicy.NEW
    ))  # fmt: skip
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: heard.lists)
        for call in range(1, 201):
            peer.call(call)
            peer.hang_up(call)
        await until(lambda: len(heard.phases("ended")) == 200)
        assert bridge.counts.dropped == 0
        assert len(bridge.spool) >= 199
        await until(lambda: bridge.delivery.trouble)
        await streams.update_stream(StreamConfig(name=STREAM, subjects=["cdr.raw"], max_msgs=-1))
        await until(lambda: bridge.delivery.delivered == 200)
    assert sorted(await heard.cdrs()) == sorted(f"{n}.1" for n in range(1, 201))


async def test_a_spool_that_is_full_leaves_the_rest_with_kamailio_and_loses_none(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(
        peer, nats_server.url, tmp_path, spool_bytes=4_000, list_seconds=0.3
    ) as bridge:
        await until(lambda: heard.lists)
        await nats_server.kill()
        await until(lambda: not bridge._client.is_connected)
        peer.call(*range(1, 31))
        peer.hang_up(*range(1, 31))
        await until(lambda: bridge.spool.lost)
        assert 0 < len(bridge.spool) < 30
        await nats_server.start()
        await until(lambda: bridge.delivery.delivered == 30)
        await until(lambda: not peer.kept)
    assert sorted(await heard.cdrs()) == sorted(f"{n}.1" for n in range(1, 31))


async def test_kamailio_is_told_to_forget_an_end_once_it_is_on_the_disk(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: heard.lists)
        peer.call(1)
        peer.hang_up(1)
        await until(lambda: bridge.counts.cdrs == 1)
        await until(lambda: not peer.kept)
        assert "htable.delete" in peer.asked


async def test_bridges_that_die_at_any_instant_lose_and_double_no_cdr(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    chance = Random(11)
    begun = 0

    async def traffic() -> None:
        nonlocal begun
        while True:
            begun += 1
            peer.call(begun)
            peer.hang_up(begun)
            await asyncio.sleep(0.005)

    calling = asyncio.create_task(traffic())
    for _ in range(6):
        async with bridging(peer, nats_server.url, tmp_path):
            await asyncio.sleep(chance.uniform(0.05, 1.5))
        await asyncio.sleep(chance.uniform(0, 0.3))
    await end(calling)
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: not peer.kept and not len(bridge.spool), 30)
    counted = Counter(await heard.cdrs())
    assert counted == Counter(f"{n}.1" for n in range(1, begun + 1))


async def test_a_bridge_that_is_told_to_stop_says_what_it_did_and_leaves_the_rest_on_disk(
    peer: Peer, heard: Heard, nats_server: NatsServer, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        LIVESTATE, "bridge", "--evapi", f"127.0.0.1:{peer.port}", "--nats-url", nats_server.url,
        "--spool", str(tmp_path), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await until(lambda: heard.lists)
    await nats_server.kill()
    peer.call(1)
    peer.hang_up(1)
    await until(lambda: not peer.kept)
    process.terminate()
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"1 CDRs, 0 delivered" in said
    assert b"1 waiting" in said
    await nats_server.start()
    async with bridging(peer, nats_server.url, tmp_path) as bridge:
        await until(lambda: bridge.delivery.delivered == 1)


async def check(peer: Peer, url: str, spool: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        LIVESTATE, "bridge", "--check", "--evapi", f"127.0.0.1:{peer.port}", "--nats-url", url,
        "--spool", str(spool), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_a_check_finds_nothing_to_mend_where_all_is_there(peer: Peer, tmp_path: Path) -> None:
    peer.call(1, 2)
    async with Guarded(tmp_path) as server:
        status, said = await check(peer, server.url_of("bridge"), tmp_path / "spool")
    assert (status, "nothing to mend" in said) == (0, True), said
    assert "kam-test-1 beats" in said
    assert "(2 live)" in said
    assert "pw-of-bridge" not in said
    assert not (tmp_path / "spool").exists()


async def test_a_check_says_what_is_missing(tmp_path: Path) -> None:
    nowhere = "nats://127.0.0.1:1"
    (tmp_path / "file").write_text("")
    async with Guarded(tmp_path) as server, Peer() as deaf, Peer() as mute, Peer() as down:
        deaf.keeps = deaf.lists = False
        mute.beats = False
        down.stop()
        told = await asyncio.gather(
            check(deaf, server.url_of("livestate"), tmp_path),
            check(mute, nowhere, tmp_path),
            check(down, nowhere, tmp_path / "file" / "spool"),
        )
    for (status, said), missing in zip(told, (
        ("no list of dialogs", "livestate_ends", "publish call.events.*"),
        ("no heartbeat", f"NATS at {nowhere}"),
        ("is Kamailio running", "create it for the bridge's user"),
    ), strict=True):  # fmt: skip
        assert status == 1
        for what in missing:
            assert what in said, said
