"""The hub that serves the clients of a single process: its own one, or that of an edge.

Several processes may stand over one Redis: single ones beside each other, or one beside an engine
with edges. The lease in Redis says which of them leads, and positions are those of the leader. So a
single process serves its clients from its own table only while it leads. While another process
leads, it serves them as an edge does, from what that one publishes, and its own fold stays warm. A
client may then go from any of these processes to any other, and gets one diff.

:class:`ServedHub` decides that a few times a second. When it changes from one hub to the other, the
streams of the former one end with the reason ``rotation``, and their clients come back with their
positions:

* **It becomes the leader.** Its table continues the numbering of the leader before it
  (:mod:`livestate.cluster.succession`). Streams stay with the edge's hub until that has continued
  with the new numbering, too, as every edge does. Then both hubs have the same positions.
* **Another process leads.** Streams go to the edge's hub once a state of a view was received. A
  former leader that was stopped, or that lost the lease, begins no stream until then.
* **Another process leads, and cannot be followed** for :data:`FALL_BACK_SECONDS`: an older version
  that publishes nothing, or this NATS user may not hear frames. Then clients are served from the
  own table, which has positions of its own: they take one snapshot, and see right calls.

A process that is alone decides once, when it has got the lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from livestate.cluster.edge import EdgeHub
from livestate.cluster.leadership import Leadership
from livestate.fanout.distributor import Distributor
from livestate.fanout.hub import Hub
from livestate.fanout.producer import Encoder
from livestate.fanout.subscriber import Subscriber
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.view import View

log = logging.getLogger("livestate.cluster")

TURN_SECONDS: Final = 0.1
UNDECIDED_SECONDS: Final = 2.0  # for the lease or a beat; those come twice a second
FALL_BACK_SECONDS: Final = 6.0
STOOD_STILL_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 30.0  # after a state did not come, until it is asked for again
LOST_MS: Final = 3_000  # a view whose state does not come
CONTINUED_SECONDS: Final = 1.0  # edges tell a new leader what they hold
CONTINUED_AT_MOST_SECONDS: Final = 5.0

Serves: TypeAlias = Literal["own", "leader", "undecided"]


class ServedHub:
    """``own`` is the hub of ``table``; ``edge`` follows the process that leads. ``started`` says
    whether the own table may be shown, ``fed`` whether it is live, too; ``steady`` in ms."""

    def __init__(
        self,
        own: Hub,
        table: ActiveCalls,
        edge: EdgeHub,
        leadership: Leadership,
        *,
        started: Callable[[], bool],
        fed: Callable[[], bool],
        steady: Callable[[], int],
    ) -> None:
        self.own, self.edge = own, edge
        self.changes = 0  # from one hub to the other
        self._table, self._leadership = table, leadership
        self._started, self._fed, self._steady = started, fed, steady
        self._hub: Hub | None = None  # None: undecided
        self._turned_at = own.context.loop.time()
        self._followed_at = self._turned_at  # or there was no reason to fall back
        self._leads_since: float | None = None
        self._alone = False  # the leader cannot be followed
        self._probe_at = 0.0

    @property
    def serves(self) -> Serves:
        """Which hub clients are served from. ``undecided``: no stream may begin now, for the own
        table may be older than what another process has shown."""
        if self._hub is self.edge:
            return "leader"
        own = self._hub is self.own and (self._alone or self._leadership.leads)
        return "own" if own else "undecided"

    @property
    def undecided(self) -> bool:
        """Whether clients were served, and it is not clear now where from."""
        return self._hub is not None and self.serves == "undecided"

    @property
    def hub(self) -> Hub:
        """The hub that new streams begin at."""
        return self._hub or self.own

    # -- as the streams and the snapshots use a hub -------------------------------------------

    @property
    def encoder(self) -> Encoder:
        return self.hub.encoder

    def view(self, scope: Scope) -> View:
        return self.hub.view(scope)

    @property
    def distributors(self) -> dict[View, Distributor]:
        """Those of both hubs: streams of the former one may not be over yet."""
        return self.own.distributors | self.edge.distributors

    def prepared(self, scope: Scope) -> bool:
        return self.hub.prepared(scope)

    async def prepare(self, scope: Scope) -> bool:
        hub = self.hub
        return self.serves != "undecided" and await hub.prepare(scope) and self.prepared(scope)

    def subscribe(self, scope: Scope, position: tuple[str, int] | None) -> Subscriber:
        return self.hub.subscribe(scope, position)

    def release(self, view: View) -> None:
        self.hub.release(view)

    # -- which one ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the leader and decide, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.edge.run())
            while True:
                await self._turn()
                self._turned_at = self.own.context.loop.time()
                await asyncio.sleep(TURN_SECONDS)

    async def _turn(self) -> None:
        now = self.own.context.loop.time()
        if now - self._turned_at > STOOD_STILL_SECONDS:
            self._followed_at = now  # nothing could be heard meanwhile
        if self._leadership.leads and not self._heard:
            if self._leads_since is None:
                self._leads_since = now
            self._followed_at = now
            if self._hub is not self.edge or self._continued(now):
                await self._serve_from(self.own)
            return
        self._leads_since = None
        if self._hub is self.edge:
            # Where the own table is not fed either, there is nothing better to show.
            if self._heard or not (self._fed() and self.edge.connection.connected):
                self._followed_at = now
            elif now - self._followed_at > FALL_BACK_SECONDS:
                await self._serve_from(self.own)
        elif self._heard and await self._probe(now):
            self._followed_at = now
            await self._serve_from(self.edge)
        elif self.serves == "undecided":
            if not self._started():
                self._followed_at = now
            elif now - self._followed_at > UNDECIDED_SECONDS:
                await self._serve_from(self.own)

    @property
    def _heard(self) -> bool:
        """Another process leads and publishes, and all views that are followed are here. This one
        may still believe that it leads, where it does not reach Redis: the higher fence counts."""
        beat = self.edge.engine.beat
        if beat is None or beat.fence <= self._leadership.fence or not self.edge.ready:
            return False
        late = self._steady() - LOST_MS
        followers = self.edge.replicas.by_company.values()
        return not any(one.lost_since is not None and one.lost_since < late for one in followers)

    async def _probe(self, now: float) -> bool:
        """Whether a state can be had: that needs more rights than a beat."""
        if now < self._probe_at:
            return False
        if await self.edge.prepare(Scope()):
            return self._heard
        self._probe_at = now + PROBE_SECONDS
        return False

    def _continued(self, now: float) -> bool:
        """This process leads: whether its edge has gone on with its numbering."""
        since = now - (self._leads_since or now)
        if since > CONTINUED_AT_MOST_SECONDS:
            return True
        beat = self.edge.engine.beat
        heard = beat is not None and beat.epoch == self._table.epoch
        followers = self.edge.replicas.by_company.values()
        return heard and since > CONTINUED_SECONDS and not any(one.lost for one in followers)

    async def _serve_from(self, hub: Hub) -> None:
        before, alone = self._hub, hub is self.own and not self._leadership.leads
        if hub is before and alone == self._alone:
            return
        self._hub, self._alone = hub, alone
        if hub is self.edge:
            log.info("another process leads: clients are served from what that one publishes")
        elif alone:
            log.warning(
                "another process leads and cannot be followed: clients are served from the own "
                "table, with positions of its own: nats=%s",
                self.trouble,
            )
        if before not in (None, hub):
            self.changes += 1
            log.info("streams move to another hub: serves=%s", self.serves)
            await before.end_streams(*tuple(before.distributors))

    @property
    def trouble(self) -> str | None:
        """Why another process cannot be followed, as far as it is known."""
        status = self.edge.connection.status()
        reason: str | None = status["trouble"] or status["missing_right"]
        if reason is None and not self.edge.ready:
            return "no process that leads is heard"
        return reason

    def status(self) -> dict[str, Any]:
        """For ``/statusz``."""
        beat, report = self.edge.engine.beat, self.edge.report()
        follows = self._hub is self.edge
        return {
            "serves": self.serves,
            "changes": self.changes,
            "leader": beat
            and {"epoch": beat.epoch, "fence": beat.fence, "silent_ms": self.edge.silent_ms},
            "lag_ms": report.lag_ms if follows else None,
            "views": report.views,
            "states": report.states,
            "gaps": report.gaps,
            "diverged": self.edge.diverged,
            "trouble": None if self._leadership.leads or follows else self.trouble,
            "nats": self.edge.connection.status(),
        }
