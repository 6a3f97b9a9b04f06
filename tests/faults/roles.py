"""``make faults ROLES=yes``: an engine and an edge in the place of the single process.

Rows that cannot be so are named in :data:`SINGLE` with the reason.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from api.cli.child_service import Instance

ROLES: Final = os.environ.get("ROLES", "no") == "yes"

# Name of the row, without its parameters → why it is of a single process.
SINGLE: Final = {
    "test_R_twins_with_one_name_and_address_do_not_take_turns": "it gives one process another port "
    "and name than it was made with; the names of two engines differ by their process",
}


class Roles:
    """Looks like an :class:`~api.cli.child_service.Instance`: the edge, whose engine is started,
    stopped and killed with it. Counters are those of both, see :func:`tests.harness.metrics`;
    ``/statusz`` is the engine's."""

    def __init__(self, keys: Path, settings: Mapping[str, str]) -> None:
        self.engine = Instance(keys, {**settings, "ROLE": "engine"})
        self.edge = Instance(keys, {**settings, "ROLE": "edge"})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.edge, name)

    @property
    def both(self) -> tuple[Instance, Instance]:
        return self.engine, self.edge

    @property
    def admin_url(self) -> str:
        return self.engine.admin_url

    @property
    def admin_urls(self) -> tuple[str, ...]:
        return tuple(one.admin_url for one in self.both)

    @property
    def running(self) -> bool:
        return self.engine.running and self.edge.running

    @property
    def environment(self) -> Mapping[str, str]:
        return self.edge.environment or {}

    @environment.setter
    def environment(self, wanted: Mapping[str, str]) -> None:
        """What is new in it is for both."""
        more = {name: it for name, it in wanted.items() if self.environment.get(name) != it}
        for one in self.both:
            one.environment = {**(one.environment or {}), **more}

    async def start(self) -> None:
        await asyncio.gather(*(one.start() for one in self.both))

    async def stop(self) -> None:
        await asyncio.gather(*(one.stop() for one in self.both))

    async def kill(self) -> None:
        await asyncio.gather(*(one.kill() for one in self.both))

    async def restart(self) -> None:
        await asyncio.gather(*(one.restart() for one in self.both))

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self.both))

    def pause(self) -> None:
        for one in self.both:
            one.pause()

    def resume(self) -> None:
        for one in self.both:
            one.resume()

    async def until_ready(self, seconds: float = 15.0) -> None:
        for one in self.both:
            await one.until_ready(seconds)

    async def until_connected(self, seconds: float = 15.0) -> None:
        for one in self.both:
            await one.until_connected(seconds)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
