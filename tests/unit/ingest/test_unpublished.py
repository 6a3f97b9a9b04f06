"""Events that the service cannot publish are counted, logged, and tried again."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from livestate.contract.parse import parse
from livestate.ingest.consumer import Consumer
from livestate.process.tasks import cancel_and_wait
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from tests.harness import now_ms, until
from tests.unit.bridge.bridge_rig import Received
from tests.unit.bridge.test_fitting import small


def in_doubt(call_id: str) -> Call:
    payload: dict[str, Any] = {"v": 1, "phase": "setup", "node": "kam-1", "epoch": 1, "seq": 1,
                            "ts": now_ms(), "call_id": call_id, "dialog": "1.1"}  # fmt: skip
    table = ActiveCalls(secret=b"x" * 16, epoch="e")
    table.apply(parse("call.events.setup", orjson.dumps(payload)), 1)  # type: ignore[arg-type]
    (call,) = table.calls.values()
    return call


async def consuming(url: str) -> tuple[Consumer, asyncio.Task[None]]:
    consumer = Consumer(url, lambda subject, data, waited_ms: None, lambda lost: None, lambda: None)
    running = asyncio.create_task(consumer.run())
    await until(lambda: consumer.connected)
    return consumer, running


async def test_a_lost_event_too_long_is_counted_others_are_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        small(tmp_path, "max_payload: 1024\n") as server,
        Received.on(server.url) as received,
    ):
        consumer, running = await consuming(server.url)
        with caplog.at_level(logging.WARNING):
            await consumer.publish_lost(in_doubt("\x01" * 500), 1, 1, now_ms())
        await consumer.publish_lost(in_doubt("short"), 1, 1, now_ms())
        await until(lambda: [one["call_id"] for one in received.phases("lost")] == ["short"])
        assert consumer.unpublished == 1
        await cancel_and_wait(running)
    assert "cannot publish a lost call: bytes=3" in caplog.text


async def test_a_lost_call_that_nats_does_not_allow_is_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deny = (
        "authorization { users: [{user: s, password: s, permissions: {publish: {deny: "
        '"call.events.lost"}}}] }\n'
    )
    async with small(tmp_path, deny) as server:
        consumer, running = await consuming(server.url.replace("//", "//s:s@"))
        with caplog.at_level(logging.WARNING):
            await consumer.publish_lost(in_doubt("c"), 1, 1, now_ms())
            await until(lambda: consumer.unpublished == 1)
        assert consumer.connected
        await cancel_and_wait(running)
    assert 'permissions violation for publish to "call.events.lost"' in caplog.text
