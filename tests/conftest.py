"""Real servers for every test, and what to do when a program is not on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NoReturn

import nats
import pytest
from redis.asyncio import Redis as RedisClient

from livestate.runtime import child, embedded


def absent(what: str) -> NoReturn:
    """In CI everything must be there: a test that quietly skips proves nothing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not on this machine, and CI runs every test")
    pytest.skip(f"{what} is not on this machine (make test installs it, as root)")


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """``program("chromium")`` is its path; without it the test fails in CI, else skips."""

    def find(name: str) -> str:
        return shutil.which(name) or absent(name)

    return find


@pytest.fixture
def free_port() -> Callable[[], int]:
    return child.free_port


@pytest.fixture(scope="session")
def _nats_process() -> Iterator[embedded.NatsServer]:
    server = embedded.NatsServer(monitor=True)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def nats_server(_nats_process: embedded.NatsServer) -> AsyncIterator[embedded.NatsServer]:
    """One nats-server for all tests, running and without streams. A test may kill or pause it."""
    await _nats_process.start()
    client = await nats.connect(_nats_process.url)
    try:
        streams = client.jetstream()
        for stream in await streams.streams_info():
            assert stream.config.name is not None
            await streams.delete_stream(stream.config.name)
    finally:
        await client.close()
    yield _nats_process
    _nats_process.resume()


@pytest.fixture(scope="session", params=["valkey", "redis"])
def _redis_process(request: pytest.FixtureRequest) -> Iterator[embedded.Redis]:
    if request.param == "redis" and embedded.redis_program() is None:
        absent("redis-server")
    server = embedded.Valkey() if request.param == "valkey" else embedded.Redis()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def redis_server(_redis_process: embedded.Redis) -> AsyncIterator[embedded.Redis]:
    """Valkey, then Redis: the test runs on both. Running and empty; it may be killed or paused.

    A test that changes its configuration takes one of its own: ``async with Valkey() as …``.
    """
    await _redis_process.start()
    async with RedisClient.from_url(_redis_process.url) as client:
        await client.flushall()
    yield _redis_process
    _redis_process.resume()
