"""Fan-out: every change once to every stream that may see it, as shared bytes.

The hub knows which views are watched; how one is served is :mod:`livestate.runtime.channel`.
"""

from __future__ import annotations

import asyncio

from livestate.access import Scope
from livestate.active_calls import ActiveCalls, Change
from livestate.runtime.channel import Broadcast, Channel, Pace, Source, Subscriber, Wire
from livestate.view import View


class Hub:
    """All channels. The composition root gives it the table's changes."""

    def __init__(
        self,
        table: ActiveCalls,
        wire: Wire,
        *,
        pace: Pace,
        heartbeat_seconds: float,
        loop: asyncio.AbstractEventLoop,
        now: int = 0,
    ) -> None:
        self.shared = Broadcast(loop, wire, pace, heartbeat_seconds, (loop.time(), now))
        self._table = table
        self._channels: dict[View, Channel] = {}

    def note(self, change: Change) -> None:
        """A call changed. Never waits."""
        channels = self._channels
        if not channels:
            return
        if not change.after.live:
            self.shared.wire.forget(change.after.key)
        for view in change.views:
            channel = channels.get(view)
            if channel is not None:
                channel.note(change)

    def subscribe(self, scope: Scope, position: tuple[str, int] | None) -> Subscriber:
        """Join a scope at a position its client has folded up to, or from a snapshot.

        There is no await between here and the first frame's bytes being chosen, and every later
        change marks the channel: that is why no change is missed and none comes twice.
        """
        view = self._table.view(scope)
        channel = self._channels.get(view)
        if channel is None:
            channel = self._channels[view] = Channel(view, self.shared, self._close)
        resumes = position is not None and view.resumable(*position)
        subscriber = Subscriber(channel, position[1] if position and resumes else None)
        subscriber.renamed = resumes and position is not None and position[0] != view.tag
        channel.subscribers.add(subscriber)
        return subscriber

    def tell(self, source: Source, now: int) -> None:
        """How the source is (looked at ``now``, ms). When what we show has become stale, or live
        again, everybody hears it at once."""
        shared = self.shared
        before, shared.source = shared.source_now(), source
        shared.checked = shared.loop.time(), now
        if source == before:
            return
        for channel in tuple(self._channels.values()):
            channel.beat()

    def _close(self, channel: Channel) -> None:
        """Nobody watches this channel any more."""
        del self._channels[channel.view]
        self.unwatched(channel.view)

    def unwatched(self, view: View) -> None:
        """Let go of a view, and of the one it is filtered from, unless somebody watches it."""
        for each in (view, self._table.view(view.scope.base)):
            if each not in self._channels:
                self._table.drop(each)
