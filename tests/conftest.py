"""Real servers for every test, and what to do when a program is not on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import nats
import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis as RedisClient

from api.instance import Instance
from livestate.runtime import child, embedded
from tests.harness import Node

# A shell that starts us with `&` has Ctrl-C ignored, and every child of ours would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No promise here is about how long an example takes on a busy machine.
settings.register_profile(
    "promises", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("promises")


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


@pytest.fixture(scope="session")
def _valkey_process() -> Iterator[embedded.Redis]:
    server = embedded.Valkey()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture(scope="session")
def _service_process(
    tmp_path_factory: pytest.TempPathFactory,
    _nats_process: embedded.NatsServer,
    _valkey_process: embedded.Redis,
) -> Iterator[Instance]:
    addresses = {"NATS_URL": _nats_process.url, "REDIS_URL": _valkey_process.url,
                 "READY_SECONDS": "1"}  # fmt: skip
    server = Instance(tmp_path_factory.mktemp("keys"), addresses)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def service(_service_process: Instance, nats_server: embedded.NatsServer) -> Instance:
    """One running service for many tests. A test speaks of companies of its own, and kills
    nothing: for that there is ``world``."""
    await _service_process.until_ready()
    return _service_process


@pytest.fixture
async def node(nats_server: embedded.NatsServer) -> AsyncIterator[Node]:
    async with await Node.connect(nats_server.url) as node:
        yield node


class World:
    """Servers of a test's own, to be killed."""

    def __init__(self, keys: Path) -> None:
        self.nats = embedded.NatsServer()
        self.redis: embedded.Redis = embedded.Valkey()
        self.keys = keys

    def service(self, **settings: str) -> Instance:
        # Most nodes of the tests answer no request for their calls: nobody waits for them long.
        own = {"NATS_URL": self.nats.url, "REDIS_URL": self.redis.url, "READY_SECONDS": "1"}
        return Instance(self.keys, own | settings)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "keys")
    async with world.nats, world.redis:
        yield world
