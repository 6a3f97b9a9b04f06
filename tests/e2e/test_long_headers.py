"""Calls with headers as long as a caller likes, on a real Kamailio and a NATS that takes little:
every one is seen, none ends as lost, and lists go on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import nats
import pytest

from api.cli.child_service import Instance
from livestate.devtools.servers import Valkey
from livestate.nats.jetstream import create_at
from tests.e2e.lab import BridgeProcess, Kamailio, Phones
from tests.harness import Stream, metrics
from tests.unit.bridge.test_fitting import Small

pytestmark = pytest.mark.timeout(120)

NODE = "kam-lab-1"
CALLS = 205
DISPLAY = "Зал ожидания " * 30
URI = "sip:1000;isub=" + "9" * 300 + "@acme.example;x=" + "y" * 400


def invite(number: int, port: int) -> bytes:
    return (
        f"INVITE sip:{39_000_000 + number}00700@acme.example;{'p' * 200}=1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-long{number}\r\n"
        f'From: "{DISPLAY}" <{URI}>;tag=l{number}\r\nTo: "{DISPLAY}" <{URI}>\r\n'
        f"Call-ID: {'c' * 480}-{number:04}@x\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
        f"X-Company: 101\r\nContact: <sip:x@127.0.0.1:{port}>\r\nContent-Length: 0\r\n\r\n"
    ).encode()


async def test_long_headers_hide_no_call_and_end_none(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    (tmp_path / "nats").mkdir()
    async with Small(tmp_path / "nats", "max_payload: 8192\n") as server, Valkey() as redis:
        await create_at(server.url)
        service = Instance(tmp_path / "keys", {
            "NATS_URL": server.url, "REDIS_URL": redis.url, "READY_SECONDS": "1",
        })  # fmt: skip
        async with Kamailio() as kamailio, Phones(kamailio), service:
            await service.until_ready()
            bridge = BridgeProcess(kamailio.port, server.url, tmp_path / "spool")
            async with bridge, await Stream.open(service.url, service.token()) as stream:
                await asyncio.sleep(1)  # SIPp binds its ports without telling
                phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                phone.bind(("127.0.0.1", 0))
                phone.connect(("127.0.0.1", kamailio.sip_port))
                for number in range(CALLS):
                    phone.send(invite(number, phone.getsockname()[1]))
                    await asyncio.sleep(0.01)
                await stream.until(lambda s: len(s.states) == CALLS, 20)
                for _ in range(3):  # lists that are asked for: each in many parts
                    before = (await metrics(service))["livestate_node_lists_total"]
                    await ask_for_list(server.url)

                    async def another(before: float = before) -> bool:
                        return (await metrics(service))["livestate_node_lists_total"] > before

                    async with asyncio.timeout(10):
                        while not await another():
                            await asyncio.sleep(0.1)
                    await asyncio.sleep(0.5)
                assert len(stream.states) == CALLS
                values = await metrics(service)
                assert values["livestate_calls_lost_total"] == 0
                assert values['livestate_events_total{result="rejected"}'] == 0
                assert values["livestate_node_lists_failed_total"] == 0
                phone.close()
    tell(f"long headers: {CALLS} calls with 480-byte Call-IDs, messages of 8 KB, none lost")


async def ask_for_list(url: str) -> None:
    client = await nats.connect(url)
    await client.publish(f"call.resync.{NODE}")
    await client.close()
