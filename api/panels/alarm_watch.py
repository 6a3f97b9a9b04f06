"""Judges the alarms every two seconds, keeps them in Redis, and passes on what has changed.

:mod:`api.service` runs one :class:`AlarmWatch`. Of several instances the one that holds the
writer's lease judges, so all of them show the same alarms, and each alarm is reported once; a
standby shows what that one stored. Redis may be away: alarms are raised without it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from api.panels.alarm_file import AlarmFile
from api.panels.alarm_webhook import Webhook
from api.panels.documents import NotAvailable
from api.panels.trunk_file import TrunkFile
from livestate.process.slices import SLICE_SECONDS
from livestate.state.alarms.board import Board, Change
from livestate.state.alarms.readings import Readings
from livestate.state.source import Source
from livestate.store.alarms import KeptAlarms

log = logging.getLogger("livestate.alarms")

EVERY_SECONDS: Final = 2.0
REDIS_SECONDS: Final = 2.0  # alarms do not wait longer for a Redis that hangs


class AlarmWatch:
    """``source()`` is the state of the feed, ``writes()`` whether this instance judges, ``ready()``
    whether it has calls to judge by. ``clock`` is in ms and does not jump."""

    def __init__(
        self,
        board: Board,
        readings: Readings,
        kept: KeptAlarms,
        file: AlarmFile,
        trunks: TrunkFile,
        *,
        source: Callable[[], Source],
        writes: Callable[[], bool],
        ready: Callable[[], bool],
        webhook: Webhook | None,
        clock: Callable[[], int],
    ) -> None:
        self.board = board
        self.file = file
        self._readings = readings
        self._kept = kept
        self._trunks = trunks
        self._source = source
        self._writes = writes
        self._ready = ready
        self.webhook = webhook
        self._clock = clock
        self._away = False
        self._sends = False  # this instance writes, and has read the deliveries that wait in Redis

    async def run(self) -> None:
        """Turn, and send to the webhook, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.file.run())
            if self.webhook is not None:
                tasks.create_task(self.webhook.run())
            while True:
                await self.turn()
                await asyncio.sleep(EVERY_SECONDS)

    async def turn(self) -> None:
        """One round: read from Redis, judge, write."""
        away = not await self._read()
        if self._writes() and self._ready():
            await self.judge()
            changes = self.board.take_changes()
            for change in changes:
                _log(change)
            away = not await self._write(changes) or away
        self._away = away

    async def judge(self) -> None:
        """Give each figure to the board. The loop runs other callbacks every few milliseconds."""
        now, source = self._clock(), self._source()
        began = time.perf_counter()
        for step in self._readings.steps(self.board.rules, self._trunks.trunks, source, now):
            if step is not None:
                self.board.update(*step, now)
            if time.perf_counter() - began > SLICE_SECONDS:
                await asyncio.sleep(SLICE_SECONDS)  # as much for the others
                began = time.perf_counter()
        self.board.finish(now, blind=source.stale_since is not None)

    async def acknowledge(self, company_id: str | None, id: str, by: str) -> bool:
        """Note who acknowledged an alarm of a company (None: of all calls); False if there is no
        such alarm. Raises :class:`~api.panels.documents.NotAvailable`."""
        now = self._clock()
        if self.board.acknowledge(company_id, id, by, now) is None:
            return False
        if not self._writes():
            try:
                await self._kept.leave_acknowledgement(company_id, id, by, now)
            except (RedisError, OSError) as error:
                raise NotAvailable(
                    "This instance is a standby and Redis does not answer. Try again."
                ) from error
        return True

    async def _read(self) -> bool:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                if self._writes():
                    await self._kept.load(self._clock())
                    await self._kept.take_acknowledgements()
                    await self._resume_webhook()
                else:
                    await self._kept.follow(self._clock())
                    self._leave_webhook()
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            return self._failed(error)
        return True

    async def _resume_webhook(self) -> None:
        """Go on with what the writer before this one had still to send."""
        if self.webhook is not None and not self._sends:
            unsent = await self._kept.unsent()
            if unsent:
                log.info("sending alarms of before the start to the webhook: count=%d", len(unsent))
            self.webhook.send_first(unsent)
            self._sends = True

    def _leave_webhook(self) -> None:
        if self.webhook is not None and self._sends:
            self.webhook.withdraw(self._kept.leave_unsent())
            self._sends = False

    async def _write(self, changes: Sequence[Change]) -> bool:
        """Store the alarms, then hand the changes to the webhook, whether Redis is there or not."""
        webhook = self.webhook
        new = {} if webhook is None else webhook.deliveries(changes)
        unsent = {} if webhook is None else webhook.unsent | new
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await self._kept.write(unsent)
        except (RedisError, OSError) as error:
            return self._failed(error)
        finally:
            if webhook is not None:
                webhook.send(new)
        return True

    def _failed(self, error: Exception) -> bool:
        if not self._away:
            log.warning("alarms are not kept in Redis now: error=%s", repr(error))
        self._away = True
        return False


def _log(change: Change) -> None:
    """One line a change."""
    what, alarm = change
    log.log(
        logging.WARNING if what == "raised" else logging.INFO,
        "an alarm changed: what=%s rule=%s level=%s subject=%.80r value=%s limit=%s by=%.80r",
        what,
        alarm.rule,
        alarm.level,
        alarm.subject,
        alarm.value,
        alarm.limit,
        alarm.acknowledged_by,
    )
