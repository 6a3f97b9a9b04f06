"""Clients that other people wrote: the calls that each of them passes on are the service's.

All clients of one proxy run the same scenario at once: a snapshot, an absence in which more than
1.1 MB changed, a single change, and a restart of the service. Each has its own result.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import async_playwright

from api.cli.child_service import Instance
from livestate.devtools.child_process import Server
from tests.conftest import World
from tests.faults.caddy import Caddy
from tests.harness import Node, Stream, snapshot
from tests.interop.followers import (
    SECONDS,
    FetchEventSource,
    Follower,
    OurJavaScript,
    OurPage,
    OurPython,
    PageInChromium,
    PageInFirefox,
    Program,
    SelfReconnecting,
)
from tests.interop.network import Network, Nginx
from tests.interop.table import DIRECT, Ran
from tests.pages import FLAGS

HERE: Final = Path(__file__).parent
HEARTBEAT_SECONDS: Final = 4.0
ATTEMPTS: Final = 3
CALLS: Final = 1_500
TEXTS: Final = ("detail", "from_uri", "to_uri")
TEXT: Final = "x" * 250  # in each of these: what changes in the absence is more than 1.1 MB
EVENTSOURCES: Final = ("eventsource2", "eventsource3", "eventsource4")
PYTHONS: Final = ("httpx-sse", "sseclient-py", "launchdarkly-eventsource", "aiohttp-sse-client")
CLIENTS: Final = {
    **{name: f"eventsource {name[-1]} (npm)" for name in EVENTSOURCES},
    **{name: f"{name} (PyPI)" for name in PYTHONS},
    "fetch-event-source": "@microsoft/fetch-event-source (npm)",
    "go": "Go net/http", "java": "JDK java.net.http", "java-gzip": "JDK java.net.http, gzip",
    "our-javascript": "livestate-client (npm, ours)", "our-python": "livestate.client (ours)",
    "chromium": "Chromium, our page", "firefox": "Firefox, our page",
}  # fmt: skip
pytestmark = pytest.mark.timeout(600)  # the first one of a proxy waits for all clients
Outcomes = dict[str, BaseException | None]


@pytest.fixture(
    scope="module", params=[pytest.param(DIRECT, marks=pytest.mark.fast), "Caddy", "nginx"]
)
def proxy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def go(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The client in Go, compiled."""
    found = tmp_path_factory.mktemp("go") / "follow"
    build = [program("go"), "build", "-o", str(found), str(HERE / "clients/follow.go")]
    subprocess.run(build, check=True, cwd=HERE)
    return str(found)


@pytest.fixture(scope="module")
def outcomes(
    proxy: str, modules: Path, python: str, go: str, program: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcomes:  # fmt: skip
    """The result of each client: its failure, or None."""

    async def live() -> Outcomes:
        world = World(tmp_path_factory.mktemp("keys"))
        async with AsyncExitStack() as stack:
            for server in (world.nats, world.redis):
                await stack.enter_async_context(server)
            service = world.service(MAX_STREAMS_PER_USER="100", MAX_STREAMS_PER_ADDRESS="1000")
            await stack.enter_async_context(service)
            front = await stack.enter_async_context(behind(proxy, service))
            network = await stack.enter_async_context(Network(front))
            node = await stack.enter_async_context(await Node.connect(world.nats.url))
            play = await stack.enter_async_context(async_playwright())
            chromium = await play.chromium.launch(executable_path=program("chromium"), args=FLAGS)
            java, follow = program("java"), str(HERE / "clients/Follow.java")
            clients: dict[str, Follower] = {
                "fetch-event-source": FetchEventSource(chromium, modules),
                "chromium": PageInChromium(chromium),
                "firefox": PageInFirefox(program("firefox-esr")),
                "our-javascript": OurJavaScript(
                    program("node"), str(HERE / "clients/livestate-client.mjs")
                ),
                "our-python": OurPython(),
                "go": Program(go),
                "java": Program(java, follow),
                "java-gzip": Program(java, follow, last=("gzip",)),
            }
            for name in EVENTSOURCES:
                clients[name] = SelfReconnecting(
                    program("node"), str(HERE / "clients/eventsource.mjs"), name
                )
            for name in PYTHONS:
                clients[name] = Program(python, str(HERE / "clients/follow.py"), name)
            try:
                return await Scenario(service, node, network, clients).run()
            finally:
                await asyncio.gather(*(one.close() for one in clients.values()),
                                     return_exceptions=True)  # fmt: skip
                await chromium.close()

    return asyncio.run(live())


@asynccontextmanager
async def behind(proxy: str, service: Instance) -> AsyncIterator[int]:
    """The port that clients see."""
    if proxy == DIRECT:
        yield service.port
        return
    server: Server = Caddy(service.port) if proxy == "Caddy" else Nginx(service.port)
    async with server:
        yield server.port


class Scenario:
    """The steps that all clients take together. A client that fails is left out of the rest."""

    def __init__(
        self, service: Instance, node: Node, network: Network, clients: dict[str, Follower]
    ) -> None:
        self.service, self.node, self.network = service, node, network
        self.clients = clients
        self.token = service.token()
        self.failed: Outcomes = {}

    async def run(self) -> Outcomes:
        await self.service.until_ready()
        self.node.hurried = True
        for number in range(CALLS):
            await self.node.say("setup", f"{number}", company_id="101")
        await self.node.client.flush()
        await self.applied("begin")
        await self.each(lambda one: one.start(self.network.url, self.token))
        await self.all_show_the_truth()
        async with await Stream.open(self.service.url, self.token):
            await self.absence()
            await self.a_single_change_comes_at_once()
        await self.restart()
        return {name: self.failed.get(name) for name in self.clients}

    async def each(self, step: Callable[[Follower], Awaitable[object]]) -> None:
        """``step`` with each client that has not failed yet, at once."""
        left = [name for name in self.clients if name not in self.failed]
        results = await asyncio.gather(
            *(step(self.clients[name]) for name in left), return_exceptions=True
        )
        for name, result in zip(left, results, strict=True):
            if isinstance(result, BaseException):
                self.failed[name] = result

    async def all_show_the_truth(self) -> None:
        """Each client gets to what the service has, call for call and field for field."""
        left = {name: one for name, one in self.clients.items() if name not in self.failed}
        deadline = asyncio.get_running_loop().time() + SECONDS
        while left:
            truth = await snapshot(self.service, self.token)
            for name, one in tuple(left.items()):
                try:
                    if await one.shows(truth):
                        del left[name]
                except Exception as wrong:  # noqa: BLE001  its result
                    self.failed[name] = wrong
                    del left[name]
            if asyncio.get_running_loop().time() > deadline:
                self.failed |= {
                    name: AssertionError(f"not at {truth['id']}: {one}")
                    for name, one in left.items()
                }
                return
            await asyncio.sleep(0.3)

    async def applied(self, detail: str) -> None:
        """Wait until the service has folded all events of the node, and this one as the last."""
        await self.node.say("notice", "0", detail=detail)
        await self.node.client.flush()
        async with asyncio.timeout(60):
            while True:
                truth = await snapshot(self.service, self.token)
                if any(one.get("detail") == detail for one in truth["calls"].values()):
                    return
                await asyncio.sleep(0.2)

    async def a_single_change_comes_at_once(self) -> None:
        """Not together with the next heartbeat, as where a reader waits for more bytes. The change
        is so short that its frame is not compressed: the clients have not had all of the frames
        before it, and one that has keeps the compression window."""
        timed = {
            name: one for name, one in self.clients.items()
            if name not in self.failed and not isinstance(one, OurPage)
        }  # fmt: skip
        if not timed:
            return
        held = dict(timed)
        for attempt in range(ATTEMPTS):  # a busy machine may be late once; a reader that waits is
            await next(iter(held.values())).beat()
            waiting = [asyncio.ensure_future(one.gap()) for one in held.values()]
            await self.node.say("notice", "1", detail="!" * (attempt + 1))
            await self.node.client.flush()
            gaps = await asyncio.gather(*waiting, return_exceptions=True)
            for name, gap in zip(tuple(held), gaps, strict=True):
                if isinstance(gap, BaseException):
                    self.failed[name] = gap
                    del held[name]
                elif gap >= HEARTBEAT_SECONDS / 8:
                    del held[name]
            if not held:
                return
        for name in held:
            self.failed[name] = AssertionError("each change came together with a heartbeat")

    async def absence(self) -> None:
        """The network is away while most of the table changes."""
        await self.network.cut()
        for one in self.clients.values():
            one.forget()
        for number in range(CALLS):
            await self.node.say("notice", f"{number}", **dict.fromkeys(TEXTS, f"{TEXT}{number}"))
        await self.applied("back")
        await self.network.restore()
        await self.all_show_the_truth()
        await self.each(lambda one: one.resumed())

    async def restart(self) -> None:
        """The service stops in order, and is there again a moment later."""
        for one in self.clients.values():
            one.forget()
        await self.network.refuse()
        await self.service.stop()
        await self.each(lambda one: one.said_goodbye("drain"))
        await self.service.start()
        await self.service.until_ready()
        await self.network.restore()
        await self.node.say("notice", "2", detail="after")
        await self.all_show_the_truth()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_what_the_service_has(
    outcomes: Outcomes, proxy: str, client: str, ran: Ran
) -> None:
    ran(proxy=proxy, client=CLIENTS[client])
    failure = outcomes[client]
    if failure is not None:
        raise failure
