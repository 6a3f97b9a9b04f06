"""A table with its projection into Redis, and random changes to it, for tests of promise R."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from livestate.redis.connection import connect
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.call import Call
from livestate.state.position import position_at, unpack
from livestate.store.keys import UNPREFIXED
from livestate.store.lease import Terms
from livestate.store.loader import Loaded, load
from livestate.store.projection import Projection
from livestate.store.record import score
from tests.calls import event
from tests.promises.test_order import same

KEYS, WRITER = UNPREFIXED.table, UNPREFIXED.writer
SECRET = b"s" * 16


class World:
    """A table, random changes to it, and its projection."""

    def __init__(
        self, url: str, epoch: str = "a" * 16, loaded: Loaded | None = None, holder: str = "here",
        terms: Terms | None = None,
    ) -> None:  # fmt: skip
        self.table = ActiveCalls(secret=loaded.secret if loaded else SECRET, epoch=epoch)
        self.redis = connect(url)
        self.projection = Projection(
            self.redis, self.table, secret=SECRET, clock=lambda: 7, holder=holder,
            flush_seconds=0.01, terms=terms,
        )  # fmt: skip
        self.chance = Random(epoch)
        self.seq = 0
        if loaded is not None:
            self.table.restore(loaded.calls, loaded.scopes, loaded.epoch, 1)
            self.seq = max((unpack(p)[1] for p in self.table.positions().values()), default=0)

    def note(self, change: Change | None) -> None:
        if change is not None:
            self.projection.on_change(change)

    def churn(self, events: int) -> None:
        """Calls of three companies and of nobody that come, change, move, end and are forgotten."""
        for _ in range(events):
            self.seq += 1
            call = self.chance.randrange(1, 40)
            phase = self.chance.choice(
                ("setup", "ringing", "answered", "hold", "resume", "transfer", "ended", "failed")
            )
            company = self.chance.choice(("101", "102", "103", None))
            fields: dict[str, Any] = {"company_id": company} if company else {}
            fields |= {"dialog": f"{call}.{self.seq // 200}", "call_id": f"c{call}"}
            self.note(self.table.apply(event(phase, self.seq, **fields), self.seq))
        if self.chance.random() < 0.3:
            self.projection.forget(self.table.trim(0, self.chance.randrange(20)))
        if self.chance.random() < 0.2:
            keep = {key for key, call in self.table.calls.items() if self.chance.random() < 0.9}
            position = position_at(1, self.seq, from_sync=True)
            for change in self.table.sweeps.close_missing("n1", position, keep, self.seq):
                self.note(change)

    async def agrees(self) -> None:
        """Redis is memory: every call, state, score and number."""
        loaded = await load(self.redis)
        assert loaded is not None
        assert loaded.epoch == self.table.epoch
        assert loaded.unusable == 0
        floors = {company: floor for company, (_, floor) in loaded.scopes.items()}

        def facts(call: Call, versions: dict[str, int]) -> tuple[Any, dict[str, int]]:
            """Without what is below the floor: it was trimmed since, here or there."""
            shown_in = {"", call.company_id} if call.live else set()
            return same(call), {
                company: at for company, at in versions.items()
                if company in shown_in or at > floors.get(company, 0)
            }  # fmt: skip

        assert {call.key: facts(call, versions) for call, versions in loaded.calls} == {
            key: facts(call, self.table.versions_of(call)) for key, call in self.table.calls.items()
        }
        assert loaded.scopes == {
            view.scope.company_id or "": (view.version, view.stored_floor)
            for view in self.table.views if not view.scope.filtered
        }  # fmt: skip
        scores = dict(await self.redis.zrange("active_calls", 0, -1, withscores=True))
        assert scores == {
            key.encode(): float(score(call)) for key, call in self.table.calls.items() if call.live
        }

    async def close(self) -> None:
        await self.redis.aclose()


Make = Callable[..., World]


async def settled(world: World) -> None:
    async with asyncio.timeout(10):
        while world.projection.standby or world.projection.dirty:
            await asyncio.sleep(0.02)
        before = world.projection.stats.flushes
        while world.projection.dirty or world.projection.stats.flushes == before:
            await asyncio.sleep(0.02)


META, SCOPES = KEYS[4], KEYS[3]


def shown(table: ActiveCalls, company: str | None) -> dict[str, int]:
    return {key: at for key, _, at in table.view(Scope(company)).snapshot()}
