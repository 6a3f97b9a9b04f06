"""Notes every half minute which countries companies call, for the hint of a new country.

:mod:`api.service` runs one :class:`CountryWatch`. It reads the calls that have changed since the
last time, in steps, so no event waits for it: 10,000 calls take 20 ms. Every instance reads its own
table; the writer stores what it found.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from redis.exceptions import RedisError

from api.panels.documents import in_slices
from api.panels.numbering import Numbering
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.countries import Countries
from livestate.state.kpi.recent import digits_of
from livestate.store.countries import KeptCountries

log = logging.getLogger("livestate.redis")

EVERY_SECONDS: Final = 30.0
REDIS_SECONDS: Final = 5.0
AT_ONCE: Final = 20  # calls a step: a number of a beginning that is not known takes 0.1 ms


class CountryWatch:
    """``clock`` is in ms and does not jump; ``writes()``: whether this instance is the writer.
    ``on``: whether the rule is."""

    def __init__(
        self,
        table: ActiveCalls,
        numbering: Numbering,
        kept: KeptCountries,
        countries: Countries,
        *,
        on: bool,
        writes: Callable[[], bool],
        clock: Callable[[], int],
    ) -> None:
        self._table = table
        self._numbering = numbering
        self._kept = kept
        self._countries = countries
        self._on = on
        self._writes = writes
        self._clock = clock
        self._version = -1
        self._away = False

    def is_new(self, company: str | None, country: str) -> bool:
        """Whether a country is new to a company; see :class:`Countries`."""
        return self._countries.is_new(company, country, self._clock())

    async def run(self) -> None:
        """Note countries until cancelled."""
        while self._on:
            await asyncio.sleep(EVERY_SECONDS)
            await self.turn()

    async def turn(self) -> None:
        """One round: restore, read the table, store."""
        await self._numbering.load()
        here = await self._use_redis(self._kept.load(self._clock()))
        await in_slices(self._steps())
        if here and self._writes():
            await self._use_redis(self._kept.write())

    async def _use_redis(self, work: Awaitable[None]) -> bool:
        """Whether Redis did it. Without it countries are noted in memory."""
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await work
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            if not self._away:
                log.warning("countries called are not kept in Redis now: error=%s", repr(error))
            self._away = True
            return False
        self._away = False
        return True

    def _steps(self) -> Iterator[None]:
        now = self._clock()
        self._countries.prune(now)
        views = self._table.views.by_tenant.get(None)
        if not views:
            return
        view = views[0]
        after = self._version if self._version <= view.version else -1
        self._version = view.version
        for number, (_, call, _) in enumerate(view.history(after)):
            if call is not None and call.attributes.direction not in ("inbound", "internal"):
                callee = digits_of(call.attributes.callee)
                country = self._numbering.place_of(callee).country if callee else None
                if country is not None:
                    self._countries.note(call.attributes.company_id, country, now)
            if number % AT_ONCE == 0:
                yield
