"""The steps of docs/bridge.md, applied to the configuration that Debian ships."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.agents import Dialog, Stage
from tests.e2e.conftest import Rigs
from tests.e2e.lab import DOMAINS, LAB, Kamailio, Planned
from tests.e2e.rig import RIGHT_SECONDS

STOCK: Final = Path("/etc/kamailio/kamailio.cfg")
GUIDE: Final = Path(__file__).parents[2] / "docs" / "bridge.md"
pytestmark = pytest.mark.timeout(120)


class Stock(Kamailio):
    """Debian's configuration with the pieces of the guide in their places."""

    def _command(self) -> list[str]:
        # The guide's pieces, each behind the line of Debian's file that it names.
        text = STOCK.read_text()
        pieces = re.findall(r"Behind `(.+?)`.*?```\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        assert len(pieces) == 6
        for line, piece in pieces:
            assert text.count(line) == 1, line
            text = text.replace(line, f"{line}\n{piece}")
        config = self.data / "kamailio.cfg"
        config.write_text(text)
        include = self.data / "livestate.cfg"
        include.write_text((LAB.parent / "livestate.cfg").read_text())
        return ["-f", str(config), "-DD", "-E", "-Y", str(self.data),
                "-l", f"udp:127.0.0.1:{self.sip_port}", "--alias", DOMAINS["101"],
                "-A", f'LIVESTATE_EVAPI="127.0.0.1:{self.port}"']  # fmt: skip


async def registered(kamailio: Kamailio, number: str, at: str | None = None) -> None:
    """Back when the phone of this number, or ``at`` another host, is where calls are sent to."""
    reader: asyncio.Queue[bytes] = asyncio.Queue()

    class Phone(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: object) -> None:
            reader.put_nowait(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Phone, remote_addr=("127.0.0.1", kamailio.sip_port)
    )
    try:
        host, port = transport.get_extra_info("sockname")
        target = at or f"{host}:{kamailio.gateways[0]}"
        who = f"sip:{number}@{DOMAINS['101']}"
        transport.sendto((
            f"REGISTER sip:{DOMAINS['101']} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK-{number}\r\nMax-Forwards: 70\r\n"
            f"From: <{who}>;tag=r{number}\r\nTo: <{who}>\r\nCall-ID: r{number}@{host}\r\n"
            f"CSeq: 1 REGISTER\r\nContact: <sip:{number}@{target}>\r\n"
            "Expires: 600\r\nContent-Length: 0\r\n\r\n"
        ).encode())  # fmt: skip
        async with asyncio.timeout(5):
            assert b" 200 OK" in await reader.get()
    finally:
        transport.close()


async def test_a_call_that_debians_configuration_cannot_relay_is_over_at_once() -> None:
    async with Stock() as kamailio, Stage(kamailio) as stage:
        caller = await stage.agent()
        await registered(kamailio, "4420700", at="nowhere.invalid")
        dialog = Dialog.between(caller, caller, "39090101", "4420700")
        invite = dialog.invite("")
        dialog.acknowledge(await caller.wait(*range(400, 600)), invite)
        await asyncio.sleep(0.2)
        assert [frame["ev"] for frame in stage.listener.of(dialog.call_id)] == ["setup", "failed"]


async def test_debians_configuration_and_the_guide_make_calls_that_are_seen(rigs: Rigs) -> None:
    kamailio = Stock()
    calls = [
        Planned(str(39_090_001 + n), "101", called, caller, outcome, passes)
        for n, (called, caller, outcome, passes) in enumerate((
            ("4420700", "talks", "answered", ("ringing", "answered")),
            ("4420701", "talks", "answered", ("early", "answered")),
            ("4420700", "holds", "answered", ("ringing", "answered", "held", "answered")),
            ("4420700", "transfers", "answered", ("ringing", "answered")),
            ("4420703", "cancels", "canceled", ("ringing",)),
            ("4420702", "talks", "busy", ()),
            ("4420708", "talks", "declined", ("ringing",)),
        ))
    ]  # fmt: skip
    async with rigs(kamailio) as rig:
        assert await rig.check() == 0
        for called in {call.called for call in calls}:
            await registered(kamailio, called)
        rig.phones.call(calls)
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        await rig.until(rig.quiet, RIGHT_SECONDS)
        await rig.until(lambda: rig.page_tells(calls), RIGHT_SECONDS)
        seen = await rig.screen.seen()
        for call in calls:
            passes = tuple(state for state in seen[call.number].passes if state != "trying")
            assert passes == call.passes, (call, seen[call.number])
        await rig.until(lambda: rig.each_has_one_cdr(calls), RIGHT_SECONDS)
        phases = {cdr["phase"] for cdrs in (await rig.cdrs()).values() for cdr in cdrs}
        assert phases == {"ended", "failed"}
