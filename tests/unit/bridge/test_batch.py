"""Events that are due at the same moment go out in one message, in their order."""

from __future__ import annotations

import time
from typing import Any

import nats
import orjson
import pytest
from nats.aio.msg import Msg

from livestate.bridge.batch import Batch
from livestate.bridge.outbox import Outbox
from livestate.contract.events import BATCH_SUBJECT, CALL_PHASES
from livestate.contract.messages import Outgoing
from livestate.contract.parse import parse_batch
from livestate.devtools.publisher import Publisher
from livestate.devtools.servers import NatsServer
from livestate.devtools.simulator import Network, Traffic
from livestate.nats.connection import connect
from tests.harness import now_ms, until


def outgoing(phase: str, seq: int, **fields: Any) -> Outgoing:
    message = {"v": 1, "phase": phase, "node": "n1", "epoch": 1, "seq": seq, "ts": 1, **fields}
    return Outgoing(f"call.events.{phase}", {"call_id": "c1", "dialog": "1.1"} | message)


class Heard:
    """What a subscriber of ``call.events.>`` receives."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []

    async def take(self, message: Msg) -> None:
        self.messages.append(message)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of calls, in the order in which they came."""
        found = []
        for message in self.messages:
            data = orjson.loads(message.data)
            found += data if message.subject == BATCH_SUBJECT else [data]
        return [one for one in found if one["phase"] in CALL_PHASES]


async def test_events_share_a_message_up_to_their_number_and_their_bytes(
    nats_server: NatsServer,
) -> None:
    heard = Heard()
    listener = await nats.connect(nats_server.url)
    await listener.subscribe("call.events.>", cb=heard.take)
    await listener.flush()
    client = await connect(nats_server.url, "test")
    outbox = Outbox(time.monotonic)
    batch = Batch(outbox, 3)
    for seq in range(1, 5):
        assert await batch.add(client, outgoing("notice", seq)) == 0
    assert batch.begun.is_set()
    assert await batch.flush(client) == 0
    assert not batch.begun.is_set()
    await until(lambda: len(heard.messages) == 2)
    assert [m.subject for m in heard.messages] == [BATCH_SUBJECT, "call.events.notice"]
    assert [one["seq"] for one in heard.events] == [1, 2, 3, 4]
    assert outbox.published == 4

    assert await batch.add(client, outgoing("setup", -1)) == 1  # livestate would reject it
    assert outbox.refused["contract"] == 1
    await batch.add(client, outgoing("setup", 5))
    await batch.add(client, outgoing("ringing", 6))
    assert await batch.flush(None) == 2  # the connection is lost
    assert outbox.refused["disconnected"] == 2

    heard.messages.clear()
    wide = Batch(outbox, 64)
    client._max_payload = 4_096  # what a server would say
    for seq in range(7, 17):
        await wide.add(client, outgoing("notice", seq, detail="x" * 250, sip_reason="y" * 250))
    await wide.flush(client)
    await until(lambda: len(heard.events) == 10)
    assert len(heard.messages) > 1
    assert all(len(message.data) <= 4_096 for message in heard.messages)
    assert [one["seq"] for one in heard.events] == list(range(7, 17))
    await client.close()
    await listener.close()


@pytest.mark.parametrize("batch", [1, 32])
async def test_a_simulated_network_says_the_same_in_batches(
    nats_server: NatsServer, batch: int
) -> None:
    heard = Heard()
    listener = await nats.connect(nats_server.url)
    await listener.subscribe("call.events.>", cb=heard.take)
    await listener.flush()
    network = Network(Traffic(2_000, 200, 1, 1, 3, 0.2, 0.1), now_ms())
    publisher = Publisher(nats_server.url, network, clock=now_ms, cdrs=False, batch=batch)
    await publisher.run()
    await until(lambda: sum(m.subject == "call.events.sync" for m in heard.messages) > 0)
    numbers = [one["seq"] for one in heard.events]
    assert numbers == sorted(numbers)
    assert numbers == list(range(1, len(numbers) + 1))
    batches = [m for m in heard.messages if m.subject == BATCH_SUBJECT]
    assert (len(batches) > 0) == (batch > 1)
    assert all(len(parse_batch(one.data)) > 1 for one in batches)
    await listener.close()
