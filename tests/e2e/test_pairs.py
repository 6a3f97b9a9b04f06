"""Two Kamailios with replicated dialogs (DMQ): each call is one row, whichever of them is alive;
and a flood of refused calls while no bridge is there.

No browser: what a stream shows is compared with what SIPp did.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import nats
import orjson
import pytest

from api.cli.check_kamailio import look
from livestate.bridge.kamailio.source import KEPT_IN
from tests.e2e.calls import GATEWAY_A, talking
from tests.e2e.lab import Planned, free_udp_port, rpc
from tests.e2e.pair import INBOX, Pair

pytestmark = pytest.mark.timeout(180)
SILENT_SECONDS: Final = 20  # a node is doubted after 15
SCANS: Final = 10_000


SCANNER: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<scenario name="scanner">
  <send retrans="500"><![CDATA[
INVITE sip:0044{digits}@127.0.0.1 SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:100@nobody.example>;tag=s[pid]x[call_number]
To: <sip:0044{digits}@127.0.0.1>
Call-ID: [call_id]
CSeq: 1 INVITE
Max-Forwards: 70
Contact: <sip:100@[local_ip]:[local_port]>
Content-Length: 0

]]></send>
  <recv response="403"/>
  <send><![CDATA[
ACK sip:0044{digits}@127.0.0.1 SIP/2.0
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
</scenario>
"""


async def test_three_calls_of_a_pair_are_three_rows(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    calls = talking(3, 39_110_001, talk_ms=20_000)
    async with Pair.up(tmp_path) as pair:
        pair.phones.call(calls)
        await pair.until_rows(calls)
        copies = await pair.second.dialogs()
        assert len(copies) == 3, "the dialogs are replicated"
        begun = time.monotonic()
        while not any(len(one["calls"]) == 3 for one in pair.published("kam-pair-2", "copies")):
            assert time.monotonic() - begun < 60
            await asyncio.sleep(0.5)
            await resync(pair, "kam-pair-2")
        await pair.until_rows(calls)
        assert not any(one["calls"] for one in pair.published("kam-pair-2", "sync"))
        assert await pair.phones.done() == [0], pair.phones.log()
        await pair.until_rows([])
        assert not pair.published("kam-pair-2", "setup", "ringing", "answered", "ended", "failed")
        await asyncio.sleep(2)
        cdrs = await pair.cdrs()
        assert Counter(one["from"] for one in cdrs) == Counter(call.number for call in calls)
        tell("a pair with DMQ: 3 calls, 3 rows, 3 CDRs")


async def resync(pair: Pair, node: str) -> None:
    client = await nats.connect(pair.nats.url_of("livestate"), inbox_prefix=INBOX)
    await client.publish(f"call.resync.{node}")
    await client.close()


async def test_a_bye_by_the_other_node_ends_the_call_of_its_owner(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    calls = talking(3, 39_120_001, talk_ms=4_000)
    async with Pair.up(tmp_path) as pair:
        pair.hang_up_at_the_other(calls)
        await pair.until_rows(calls)
        assert await pair.phones.done() == [0], pair.phones.log()
        await pair.until_rows([])
        ended = [one for one in pair.heard if one["phase"] == "ended"]
        assert [(one["node"], one["owner"]) for one in ended] == [("kam-pair-2", "kam-pair-1")] * 3
        await asyncio.sleep(2)
        cdrs = await pair.cdrs()
        assert Counter(one["from"] for one in cdrs) == Counter(call.number for call in calls)
        tell("a pair with DMQ: BYE by the other node ends the owner's call")


async def test_the_other_node_takes_over_the_calls_of_an_owner_that_died(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    staying = talking(3, 39_130_001, talk_ms=90_000)
    ending = talking(2, 39_130_011, talk_ms=(SILENT_SECONDS + 16) * 1000)
    async with Pair.up(tmp_path) as pair:
        pair.phones.call(staying)
        pair.hang_up_at_the_other(ending)
        await pair.until_rows(staying + ending)
        keys, seen = pair.keys(), len(pair.stream.events)
        await pair.first.kill()
        died = time.monotonic()
        await asyncio.sleep(SILENT_SECONDS)

        def confirmed(_: object) -> bool:
            return not any(c.get("unconfirmed") for c in pair.stream.dashboard.calls.values())

        await pair.stream.until(confirmed, 10)
        took = time.monotonic() - died
        assert pair.keys() == keys
        for event in pair.stream.events[seen:]:
            if event.name == "diff":
                shown = orjson.loads(event.data)["calls"]
                assert all(shown.values()), "a row was taken away"
                assert set(shown) <= keys, "a row was added"
        # The BYE of two reaches the node that is left.
        await pair.until_rows(staying, 30)
        ended = [one for one in pair.heard if one["phase"] == "ended"]
        assert {(one["node"], one["owner"]) for one in ended} == {("kam-pair-2", "kam-pair-1")}
        # The owner comes back and gets its dialogs from the other: the same rows.
        await pair.first.start()
        await asyncio.sleep(12)
        await pair.until_rows(staying)
        assert pair.keys() <= keys
        assert confirmed(None)
        tell(f"a pair with DMQ: the owner killed, its 5 calls stay 5 rows, sure {took:.0f} s later")


async def test_a_link_that_was_down_doubles_no_row_and_ends_no_call(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    staying = talking(3, 39_150_001, talk_ms=70_000)
    ending = talking(2, 39_150_011, talk_ms=12_000)
    later = talking(2, 39_150_021, talk_ms=60_000)
    async with Pair.up(tmp_path) as pair:
        pair.phones.call(staying)
        pair.phones.call(ending)
        await pair.until_rows(staying + ending)
        keys = pair.keys()
        await pair.link(up=False)
        pair.phones.call(later)
        await pair.until_rows(staying + ending + later)
        # These end at their owner; the other node keeps its copies.
        await pair.until_rows(staying + later)
        await asyncio.sleep(5)
        assert len(await pair.second.dialogs()) == 5, "the link is down"
        await pair.link(up=True)
        await asyncio.sleep(12)
        for node in ("kam-pair-1", "kam-pair-2"):
            await resync(pair, node)
        await asyncio.sleep(3)
        await pair.until_rows(staying + later)
        assert len(pair.keys() - keys) == len(later)
        assert set(await pair.phones.done()) == {0}, pair.phones.log()
        await pair.until_rows([])
        await asyncio.sleep(2)
        cdrs = await pair.cdrs()
        calls = (*staying, *ending, *later)
        assert Counter(one["from"] for one in cdrs) == Counter(call.number for call in calls)
        tell("a pair with DMQ: its link down for a while, 7 calls, 7 rows, 7 CDRs")


async def test_a_flood_of_refused_calls_takes_no_cdr_of_a_real_one(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    before = talking(10, 39_140_001, talk_ms=500)
    after = talking(10, 39_140_101, talk_ms=500)
    failing = [
        Planned(str(39_140_201 + n), "101", GATEWAY_A + "02", "talks", "busy", ()) for n in range(5)
    ]
    async with Pair.up(tmp_path) as pair:
        bridge = pair.bridges[0]
        await bridge.kill()
        pair.phones.call([*before, *failing])
        assert set(await pair.phones.done()) == {0}, pair.phones.log()
        scanning = pair.phones._sipp([
            "-sf", str(pair.phones._file("scan.xml", SCANNER.format(digits="2071234567"))),
            "-m", str(SCANS), "-r", "1500", "-l", "500", "-p", str(free_udp_port()),
            f"127.0.0.1:{pair.first.sip_port}",
        ])  # fmt: skip
        assert await asyncio.to_thread(scanning.wait, 120) == 0, pair.phones.log()
        pair.phones.call(after)
        assert await pair.phones.done() == [0], pair.phones.log()
        seen = await look(("127.0.0.1", pair.first.port))
        assert seen.dropped == {"refused": SCANS - 1_000}, "what the cap pushes out is counted"
        await bridge.start()
        real = Counter(call.number for call in (*before, *after, *failing))
        deadline = time.monotonic() + 30
        while True:
            found = Counter(one.get("from") for one in await pair.cdrs())
            if all(found[number] == 1 for number in real) and found["100"] == 1_000:
                break
            assert time.monotonic() < deadline, (found["100"], real - found)
            await asyncio.sleep(0.5)
        while True:  # the bridge tells Kamailio to forget them once they are on the disk
            kept = [await rpc(pair.first.port, "htable.dump", table) for table in KEPT_IN]
            if not any(kept):
                break
            assert time.monotonic() < deadline, str(kept)[:300]
            await asyncio.sleep(0.5)
        tell(f"bridge away during {SCANS} refused calls: all of 25 real CDRs, and 1,000 of those")
