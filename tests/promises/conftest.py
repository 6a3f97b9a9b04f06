"""The projection that tests of promise R make, one or several on one Redis."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from livestate.devtools.servers import Redis
from tests.promises.projection import Make, World


@pytest.fixture
async def make(redis_server: Redis) -> AsyncIterator[Make]:
    """``make(**options)`` is another :class:`World` on the same Redis, closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        def made(**options: Any) -> World:
            world = World(redis_server.url, **options)
            stack.push_async_callback(world.close)
            return world

        yield made
