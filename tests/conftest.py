"""Real servers for every test, and what to do when a program is not on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import httpx
import nats
import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis as RedisClient

import livestate.state.call
from api.cli.child_service import Instance
from livestate.devtools import child_process, servers
from livestate.process import build
from tests import redis_acl
from tests.harness import Node

# A shell that starts us with `&` has Ctrl-C ignored, and every child of ours would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Each ``httpx.AsyncClient()`` reads all CAs of certifi: 20 ms of CPU. The tests make thousands of
# clients, one at each look at what a service has. They share one context.
_httpx_context = httpx.create_ssl_context


@functools.cache
def _default_context(*_of: str | None) -> ssl.SSLContext:
    return _httpx_context()


def _shared_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is True and cert is None and trust_env:
        return _default_context(*map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))
    return _httpx_context(verify, cert, trust_env)


httpx._transports.default.create_ssl_context = _shared_context

# No promise here is about how long an example takes on a busy machine.
settings.register_profile(
    "promises", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("promises")


def pytest_configure() -> None:
    """``make test-compiled`` proves nothing if the tests find the source of this tree."""
    wanted = os.environ.get("LIVESTATE_TEST_BUILD", build.kind())
    if build.kind() != wanted:
        where = livestate.state.call.__file__
        pytest.exit(f"these tests are for the {wanted} build, but {where} is imported", 4)


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
    return child_process.free_port


@pytest.fixture(scope="session")
def _nats_process() -> Iterator[servers.NatsServer]:
    server = servers.NatsServer(monitor=True)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def nats_server(_nats_process: servers.NatsServer) -> AsyncIterator[servers.NatsServer]:
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
def _redis_process(request: pytest.FixtureRequest) -> Iterator[servers.Redis]:
    if request.param == "redis" and servers.redis_program() is None:
        absent("redis-server")
    server = servers.Valkey() if request.param == "valkey" else servers.Redis()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def redis_server(_redis_process: servers.Redis) -> AsyncIterator[servers.Redis]:
    """Valkey, then Redis: the test runs on both. Running and empty; it may be killed or paused.

    A test that changes its configuration takes one of its own: ``async with Valkey() as …``.
    """
    await _redis_process.start()
    async with RedisClient.from_url(_redis_process.url) as client:
        await client.flushall()
    yield _redis_process
    _redis_process.resume()


@pytest.fixture(scope="session")
def _valkey_process() -> Iterator[servers.Redis]:
    server = servers.Valkey(arguments=redis_acl.arguments())
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture(scope="session")
def _service_process(
    tmp_path_factory: pytest.TempPathFactory,
    _nats_process: servers.NatsServer,
    _valkey_process: servers.Redis,
) -> Iterator[Instance]:
    addresses = {"NATS_URL": _nats_process.url,
                 "REDIS_URL": redis_acl.limited(_valkey_process.url),
                 "READY_SECONDS": "1"}  # fmt: skip
    server = Instance(tmp_path_factory.mktemp("keys"), addresses)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def service(_service_process: Instance, nats_server: servers.NatsServer) -> Instance:
    """One running service for many tests. A test speaks of companies of its own, and kills
    nothing: for that there is ``world``."""
    await _service_process.until_ready()
    await _service_process.until_connected()  # the test before may have killed NATS
    return _service_process


@pytest.fixture
async def node(nats_server: servers.NatsServer) -> AsyncIterator[Node]:
    async with await Node.connect(nats_server.url) as node:
        yield node


class World:
    """Servers of a test's own, to be killed."""

    def __init__(self, keys: Path) -> None:
        self.nats = servers.NatsServer()
        self.redis: servers.Redis = servers.Valkey(arguments=redis_acl.arguments())
        self.keys = keys

    def service(self, **settings: str) -> Instance:
        # Most nodes of the tests answer no request for their calls: a short wait is enough.
        own = {
            "NATS_URL": self.nats.url,
            "REDIS_URL": redis_acl.limited(self.redis.url),
            "READY_SECONDS": "1",
        }
        return Listening(self.keys, own | settings)


class Listening(Instance):
    """A service whose start is over when it hears NATS, unless that is not there."""

    async def start(self) -> None:
        await super().start()
        with contextlib.suppress(TimeoutError):
            await self.until_connected(1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "keys")
    async with world.nats, world.redis:
        yield world
