"""The service under test: one process, or an engine with edges (docs/scale.md)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from api.cli.child_service import Instance
from loadtest import machine


@dataclass(frozen=True, slots=True)
class World:
    """``engine`` folds, ``serving`` serve clients; with one process both are that."""

    engine: Instance
    serving: tuple[Instance, ...]

    @property
    def instances(self) -> tuple[Instance, ...]:
        return tuple(dict.fromkeys((self.engine, *self.serving)))

    @property
    def urls(self) -> str:
        """For Locust's ``--host``: users are spread over them."""
        return ",".join(one.url for one in self.serving)

    @property
    def admin_urls(self) -> str:
        return ",".join(one.admin_url for one in self.instances)

    def sample(self) -> dict[str, float]:
        """Resources of all processes together, see :func:`loadtest.machine.sample`."""
        return machine.sample([one.pid for one in self.instances])

    async def metrics(self) -> dict[str, float]:
        """Counters summed over all processes, and the worst loop lag of any."""
        return await counters(one.admin_url for one in self.instances)


async def counters(admin_urls: Iterable[str]) -> dict[str, float]:
    """Counters summed over all processes, and the worst loop lag of any. Raises
    httpx.HTTPError."""
    total: dict[str, float] = {}
    async with httpx.AsyncClient() as client:
        for url in admin_urls:
            answer = (await client.get(f"{url}/metrics")).raise_for_status()
            lines = (line.rpartition(" ") for line in answer.text.split("\n") if line[:1] != "#")
            for name, _, value in lines:
                if name:
                    known, found = total.get(name, 0.0), float(value)
                    total[name] = max(known, found) if "worst" in name else known + found
    return total


@contextlib.asynccontextmanager
async def started(keys: Path, addresses: Mapping[str, str], edges: int) -> AsyncIterator[World]:
    """The service with these settings; ``edges`` 0 for one process."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        if not edges:
            service = await enter(Instance(keys, addresses))
            yield World(service, (service,))
            return
        engine = await enter(Instance(keys, {**addresses, "ROLE": "engine"}))
        serving = [await enter(Instance(keys, {**addresses, "ROLE": "edge"})) for _ in range(edges)]
        yield World(engine, tuple(serving))


async def until_edges_ready(world: World) -> None:
    """Raises TimeoutError."""
    for one in world.serving:
        await one.until_ready(60)
