"""A restart of the service behind each documented proxy, for clients that other people wrote.

An EventSource as the standard has it ends for good at a 502, and so do versions 3 and 4 of npm's
``eventsource``. A proxy as documented either waits for the service or answers the stream itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from api.cli.child_service import Instance
from tests.conftest import World, absent
from tests.harness import Node, snapshot
from tests.interop.browsing import tls
from tests.interop.followers import SECONDS, Follower, OurJavaScript, OurPython, SelfReconnecting
from tests.interop.proxies import HOST, PROXIES, Nginx, Proxy, node_environment
from tests.interop.table import Ran

__all__ = ["tls"]
CLIENTS: Final = Path(__file__).parent / "clients"
CALLS: Final = 20
AWAY_SECONDS: Final = 3  # each client asks once at least: the service's retry is 2 s at most
pytestmark = pytest.mark.timeout(600)  # the first one waits for npm
DOCUMENTED = [
    pytest.param(
        kind, below, id=f"{kind.title or kind.name}{'-below' * below}",
        marks=[pytest.mark.fast] if kind is Nginx else [],
    )
    for kind in PROXIES
    for below in (False, True)
]  # fmt: skip


@asynccontextmanager
async def following(
    proxy: Proxy, token: str, node: str, modules: Path
) -> AsyncIterator[dict[str, Follower]]:
    """Each client by its name in the table, started."""
    certificate = str(proxy.certificates / "noc.crt")
    environment = node_environment(proxy.certificates)

    async def name(request: httpx.Request) -> None:
        request.headers["Host"] = f"{HOST}:{proxy.port}"
        request.extensions["sni_hostname"] = HOST

    trust = ssl.create_default_context(cafile=certificate)
    timeout = httpx.Timeout(20, read=None)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx.AsyncClient(verify=trust, timeout=timeout, event_hooks={"request": [name]})
        )
        ours = str(CLIENTS / "livestate-client.mjs")
        clients: dict[str, Follower] = {
            "livestate.client (ours)": OurPython(client),
            "livestate-client (npm, ours)": OurJavaScript(node, ours, environment=environment),
        }
        for version in "34":
            clients[f"eventsource {version} (npm)"] = SelfReconnecting(
                node, str(CLIENTS / "eventsource.mjs"), f"eventsource{version}",
                environment=environment,
            )  # fmt: skip
        for one in clients.values():
            stack.push_async_callback(one.close)
            await one.start(proxy.local_url if isinstance(one, OurPython) else proxy.url, token)
        yield clients


async def all_show_the_truth(service: Instance, clients: dict[str, Follower], token: str) -> None:
    left = dict(clients)
    deadline = asyncio.get_running_loop().time() + SECONDS
    while left:
        truth = await snapshot(service, token)
        for name, one in tuple(left.items()):
            if await one.shows(truth):
                del left[name]
        late = {name: str(one) for name, one in left.items()}
        assert asyncio.get_running_loop().time() < deadline, f"not at {truth['id']}: {late}"
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(("kind", "below"), DOCUMENTED)
async def test_after_a_restart_clients_get_one_diff(
    kind: type[Proxy], below: bool, world: World, tls: Path, modules: Path,
    program: Callable[[str], str], ran: Ran,
) -> None:  # fmt: skip
    if kind.found() is None:
        absent(kind.name)
    service = world.service(HEARTBEAT_SECONDS="1", MAX_STREAMS_PER_USER="100",
                            MAX_STREAMS_PER_ADDRESS="100")  # fmt: skip
    proxy = kind(service.port, tls, below=below)
    service.environment["LIVESTATE_PUBLIC_URL"] = proxy.url
    token = service.token()
    async with service, proxy, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        for number in range(CALLS):
            await node.call(f"{number}", company_id="101")
        async with following(proxy, token, program("node"), modules) as clients:
            for name in clients:
                ran(proxy.label, client=name)
            await all_show_the_truth(service, clients, token)
            for one in clients.values():
                one.forget()
            await service.stop()
            for one in clients.values():
                await one.said_goodbye("drain")
            await asyncio.sleep(AWAY_SECONDS)
            await service.start()
            await service.until_ready()
            await all_show_the_truth(service, clients, token)
            back = (await snapshot(service, token))["id"]
            await node.say("hold", "1", company_id="101")
            await all_show_the_truth(service, clients, token)
            held = (await snapshot(service, token))["id"]
            assert back != held
            for name, one in clients.items():
                assert one.changes == [("diff", back), ("diff", held)], f"{name}: {one}"
