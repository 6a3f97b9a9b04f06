"""Fixtures of the bridge's tests: a played Kamailio, and a listener on NATS."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from livestate.devtools.servers import NatsServer
from livestate.nats.jetstream import create_at
from tests.evapi import Peer
from tests.unit.bridge.bridge_rig import Received


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


@pytest.fixture
async def received(nats_server: NatsServer) -> AsyncIterator[Received]:
    """Records what bridges publish from now on; NATS has the streams for CDRs."""
    await create_at(nats_server.url)
    async with Received.on(nats_server.url) as received:
        yield received
