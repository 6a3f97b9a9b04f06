"""The servers of the demo and the tests: real, stoppable, and ended with their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import nats
import pytest
from redis.asyncio import Redis as RedisClient

from livestate.devtools.child_process import Server, ServerFailed
from livestate.devtools.servers import NatsServer, Redis, Valkey, any_redis

KINDS: dict[str, Callable[[], Server]] = {"nats": NatsServer, "valkey": Valkey, "redis": Redis}


@pytest.fixture(params=KINDS)
async def server(
    request: pytest.FixtureRequest, program: Callable[[str], str]
) -> AsyncIterator[Server]:
    if request.param == "redis":
        program("redis-server")
    async with KINDS[request.param]() as server:
        yield server


async def write(server: Server, value: str) -> None:
    if isinstance(server, NatsServer):
        client = await nats.connect(server.url)
        streams = client.jetstream()
        await streams.add_stream(name="kept", subjects=["kept"])
        await streams.publish("kept", value.encode())
        await client.close()
    else:
        async with RedisClient.from_url(server.url) as redis:
            await redis.set("kept", value)


async def read(server: Server) -> str | None:
    if isinstance(server, NatsServer):
        client = await nats.connect(server.url)
        streams = client.jetstream()
        try:
            message = await streams.get_last_msg("kept", "kept")
        except nats.js.errors.NotFoundError:
            return None
        finally:
            await client.close()
        assert message.data is not None
        return message.data.decode()
    async with RedisClient.from_url(server.url) as redis:
        found = await redis.get("kept")
    return found.decode() if isinstance(found, bytes) else found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def answers(server: Server) -> bool:
    try:
        async with asyncio.timeout(0.5):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"PING\r\n")  # NATS greets first, Redis replies
            try:
                return await reader.readline() != b""
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False


async def test_a_server_answers_as_soon_as_it_has_started(server: Server) -> None:
    await write(server, "here")
    assert await read(server) == "here"


async def test_what_was_written_before_a_kill_is_there_on_the_same_port(server: Server) -> None:
    await write(server, "before the kill")
    url, pid = server.url, server.pid
    await server.kill()
    assert not server.running
    assert not listens(server.port)
    await server.start()
    assert server.url == url
    assert server.pid != pid
    assert await read(server) == "before the kill"


async def test_a_restart_keeps_the_data_and_an_empty_one_forgets_it(server: Server) -> None:
    await write(server, "kept")
    await server.restart()
    assert await read(server) == "kept"
    await server.restart(empty=True)
    assert await read(server) is None


async def test_a_paused_server_is_connected_and_silent_until_resumed(server: Server) -> None:
    server.pause()
    assert listens(server.port)
    assert not await answers(server)
    assert server.running
    server.resume()
    assert await answers(server)


async def test_a_paused_server_can_be_stopped(server: Server) -> None:
    server.pause()
    await server.stop()
    assert not server.running
    assert not listens(server.port)


async def test_nothing_is_left_behind_when_what_used_it_fails() -> None:
    server = NatsServer()

    async def use() -> None:
        async with server:
            assert listens(server.port)
            raise LookupError

    with pytest.raises(LookupError):
        await use()
    assert not server.data.parent.exists()
    assert not listens(server.port)


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    server = Valkey()
    starting = asyncio.create_task(server.__aenter__())
    await asyncio.sleep(0)  # it has started the process and waits for its answer
    process = server.pid
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not Path(f"/proc/{process}").exists()
    assert not server.data.parent.exists()


@pytest.mark.parametrize("kind", [NatsServer, Valkey])
async def test_a_server_that_cannot_start_says_why(kind: type[NatsServer] | type[Valkey]) -> None:
    with pytest.raises(ServerFailed, match="nonsense"):
        async with kind(arguments=("--nonsense", "1")):
            pass


@pytest.mark.parametrize("kind", [NatsServer, Valkey])
async def test_a_stranger_on_the_port_is_not_taken_for_our_server(
    kind: type[NatsServer] | type[Valkey],
) -> None:
    async with kind() as stranger:
        with pytest.raises(ServerFailed, match=r"(?i)address already in use"):
            async with kind(port=stranger.port):
                pass
        assert await answers(stranger)


async def test_the_monitoring_port_opens_on_request() -> None:
    async with NatsServer(monitor=True) as server, httpx.AsyncClient() as client:
        assert (await client.get(f"{server.monitor_url}/healthz")).json() == {"status": "ok"}


async def test_a_server_would_end_with_a_thread_so_a_thread_may_not_start_it() -> None:
    refusals: list[BaseException] = []

    async def use() -> None:
        async with NatsServer():
            pass

    def start() -> None:
        try:
            asyncio.run(use())
        except ServerFailed as refusal:
            refusals.append(refusal)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert [type(refusal) for refusal in refusals] == [ServerFailed]


def test_one_server_outlives_the_event_loop_that_started_it() -> None:
    server = any_redis()
    asyncio.run(server.start())
    asyncio.run(write(server, "over loops"))
    assert asyncio.run(read(server)) == "over loops"
    asyncio.run(server.close())


PARENT = """
import asyncio, signal
from livestate.devtools.servers import NatsServer, Valkey
async def main():
    async with NatsServer() as nats, Valkey() as valkey:
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, heard.set)
        print(nats.pid, nats.port, valkey.pid, valkey.port, flush=True)
        await heard.wait()
        await asyncio.sleep(0.3)
        print(nats.running, valkey.running, flush=True)
asyncio.run(main())
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        yield process
        process.kill()


async def gone(port: int) -> None:
    async with asyncio.timeout(3):
        while listens(port):
            await asyncio.sleep(0.01)


async def test_the_servers_die_with_a_parent_that_is_killed(parent: subprocess.Popen[str]) -> None:
    assert parent.stdout is not None
    _, nats_port, _, valkey_port = map(int, parent.stdout.readline().split())
    assert listens(nats_port)
    assert listens(valkey_port)
    parent.kill()
    await gone(nats_port)
    await gone(valkey_port)


async def test_ctrl_c_reaches_the_parent_only_which_then_ends_them(
    parent: subprocess.Popen[str],
) -> None:
    assert parent.stdout is not None
    _, nats_port, _, valkey_port = map(int, parent.stdout.readline().split())
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.stdout.readline() == "True True\n"
    assert await asyncio.to_thread(parent.wait, 10) == 0
    assert not listens(nats_port)
    assert not listens(valkey_port)


async def test_every_test_gets_an_empty_redis(redis_server: Redis) -> None:
    assert await read(redis_server) is None
    await write(redis_server, "for this test only")


async def test_every_test_gets_an_empty_redis_again(redis_server: Redis) -> None:
    assert await read(redis_server) is None
    await write(redis_server, "for this test only")


async def test_a_fixture_server_that_a_test_killed_is_back_for_the_next(
    nats_server: NatsServer,
) -> None:
    await write(nats_server, "for this test only")
    await nats_server.kill()


async def test_every_test_gets_a_nats_without_streams(nats_server: NatsServer) -> None:
    assert await read(nats_server) is None


def test_no_two_processes_of_ours_are_given_one_port() -> None:
    asking = (
        "from livestate.devtools.child_process import free_port\n"
        "print(*(free_port() for _ in range(150)), flush=True)\n"
        "input()\n"  # a port is given until its holder ends
    )
    command = [sys.executable, "-c", asking]
    askers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    given = [port for asker in askers for port in (asker.stdout or sys.stdin).readline().split()]
    for asker in askers:
        asker.communicate("\n", timeout=30)
    assert len(given) == 600
    assert len(set(given)) == 600  # by chance alone, of 6,000 ports, they would meet
