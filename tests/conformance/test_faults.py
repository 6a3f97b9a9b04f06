"""``livestate conformance`` on a service, and on one whose streams carry a planted fault."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from api.cli.child_service import Instance
from livestate.conformance.checks import judge
from livestate.conformance.evidence import collect
from livestate.conformance.result import Result, exit_code, table
from loadtest import fault_proxy
from tests.conformance.traffic import traffic
from tests.harness import Node

pytestmark = pytest.mark.slow
SECONDS = 10.0
COMPANIES = ("101", "102")
# The load test's planted faults, and the promise and check that must name each.
FAULTS = (
    pytest.param(fault_proxy.lost, 8, "V", "count and digest", id="lost"),
    pytest.param(fault_proxy.late, None, "V", "late", id="late"),
    pytest.param(fault_proxy.foreign, None, "L", "own calls", id="foreign"),
    pytest.param(fault_proxy.altered, 4, "V", "same records", id="altered"),
)


async def _pour(inner: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
    while not inner.at_eof():
        await asyncio.sleep(pause)  # what comes meanwhile is held
        writer.write(await inner.read(2**20))
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def holding_proxy(port: int, hold_seconds: float) -> AsyncIterator[str]:
    """A proxy that passes on the head of a stream at once, and what follows every
    ``hold_seconds``."""
    open_tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        try:
            outer.write(await reader.readuntil(b"\r\n\r\n"))
            head = await inner.readuntil(b"\r\n\r\n")
            writer.write(head)
            pause = hold_seconds if b"event-stream" in head else 0.0
            held = asyncio.create_task(_pour(inner, writer, pause))
            leaving = asyncio.create_task(reader.read())
            await asyncio.wait((held, leaving), return_when=asyncio.FIRST_COMPLETED)
            held.cancel()
            leaving.cancel()
            await asyncio.gather(held, leaving, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            outer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_tasks.add(asyncio.create_task(carry(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for task in open_tasks:
        task.cancel()
    await asyncio.gather(*open_tasks, return_exceptions=True)


@pytest.fixture
async def busy(service: Instance, node: Node) -> AsyncIterator[Instance]:
    async with traffic(node, COMPANIES):
        yield service


async def run(service: Instance, url: str) -> list[Result]:
    second = service.token("user", company_id=COMPANIES[0])
    evidence = await collect(url, service.token(), second, SECONDS)
    return judge(evidence)


def broken_by_load(results: list[Result]) -> bool:
    """Only an event came late: on a machine with other load the service itself is late."""
    broken = [one.title for one in results if one.outcome == "broken"]
    return bool(broken) and all("late" in title for title in broken)


async def run_calmly(service: Instance, url: str) -> list[Result]:
    """A run that other load of the machine did not break: the best of three."""
    for _ in range(2):
        results = await run(service, url)
        if not broken_by_load(results) and exit_code(results) != 3:
            return results
    return await run(service, url)


async def test_our_own_service_conforms(busy: Instance) -> None:
    results = await run_calmly(busy, busy.url)
    assert exit_code(results) == 0, "\n".join(table(results))
    assert {one.outcome for one in results} == {"kept"}


async def test_a_proxy_without_a_fault_conforms(busy: Instance) -> None:
    async with fault_proxy.Proxy(busy, fault_proxy.Fault(None)) as url:
        results = await run_calmly(busy, url)
    assert exit_code(results) == 0, "\n".join(table(results))


@pytest.mark.parametrize(("spoil", "every", "promise", "title"), FAULTS)
async def test_a_planted_fault_is_named(
    busy: Instance, spoil: fault_proxy.Spoil, every: int | None, promise: str, title: str
) -> None:
    fault = fault_proxy.Fault(spoil, every, warm_seconds=3)
    async with fault_proxy.Proxy(busy, fault) as url:
        results = await run(busy, url)
    assert fault.done
    broken = [one for one in results if one.outcome == "broken"]
    assert any(one.promise == promise and title in one.title for one in broken), "\n".join(
        table(results)
    )
    assert exit_code(results) == 1


@pytest.mark.parametrize("hold_seconds", [4.0, 3600.0], ids=["collects", "swallows"])
async def test_a_proxy_that_buffers_is_named(busy: Instance, hold_seconds: float) -> None:
    async with holding_proxy(busy.port, hold_seconds) as url:
        results = await run(busy, url)
    broken = [one for one in results if one.outcome == "broken" and one.promise == "S"]
    assert any("holds the stream back" in one.title for one in broken), "\n".join(table(results))
    assert any("docs/proxies.md" in one.detail for one in broken)


async def test_a_service_that_is_not_there_is_not_measured() -> None:
    results = judge(await collect("http://127.0.0.1:1", "token", None, 5))
    assert exit_code(results) == 3
    assert "127.0.0.1:1" in results[0].detail


async def test_a_quiet_service_is_measured_by_its_heartbeats(service: Instance) -> None:
    """No call changes: what needs none is kept, and nothing is broken."""
    results = judge(await collect(service.url, service.token(), None, 10))
    assert exit_code(results) in (0, 3) or broken_by_load(results), "\n".join(table(results))


async def test_a_login_that_is_refused_is_no_conformance(service: Instance) -> None:
    async with asyncio.timeout(60):
        results = judge(await collect(service.url, "no.valid.token", None, 5))
    assert exit_code(results) != 0
