"""The engine that an edge follows, as its beats show it. Pure: times come in, in ms.

The highest fence wins. Where two engines beat with the same one, because no lease decides between
them, the edge stays with the first for as long as that is heard.
"""

from __future__ import annotations

from typing import Final

from livestate.cluster.reports import Delay
from livestate.cluster.wire import Beat, Head
from livestate.state.access import Scope
from livestate.state.nodes.trouble import Trouble
from livestate.state.source import Source
from livestate.state.views import Views

SILENT_MS: Final = 2_000  # without a beat; they come twice a second
BEAT_MS: Final = 500
ROUNDED_MS: Final = 1_000


class HeardEngine:
    """``beat`` is the last one of the engine that is followed; None before the first."""

    def __init__(self, now: int) -> None:
        self.beat: Beat | None = None
        self._at = now
        self._fed_at = now  # the last beat of an engine that was ready
        self._fence = -1
        self._delay = Delay()

    def hear(self, beat: Beat, now: int) -> bool:
        """Take a beat; whether the edge now follows another engine than before."""
        known = self.beat
        if beat.fence < self._fence:
            return False
        another = known is not None and beat.epoch != known.epoch
        if another and beat.fence == self._fence and not self.silent(now):
            return False
        if another:
            self._delay = Delay()
        self._delay.take(beat.as_of, now)
        self.beat, self._at, self._fence = beat, now, beat.fence
        if beat.ready:
            self._fed_at = now
        return another

    def silent_ms(self, now: int) -> int:
        """Since the last beat, or since the edge's start."""
        return now - self._at

    def lag_ms(self, now: int) -> int:
        """How far behind the engine an edge is that has lost nothing: frames take the way that
        beats take, so they wait as long."""
        return self._delay.ms + max(self.silent_ms(now) - BEAT_MS, 0)

    def silent(self, now: int) -> bool:
        return self.silent_ms(now) > SILENT_MS

    def replaced(self, head: Head) -> bool:
        """Whether a message is of an engine that another one has replaced."""
        return head.fence < self._fence

    def names(self, tag: str, scope: Scope) -> bool:
        """Whether this is how the engine names the numbering of a view."""
        return self.beat is None or tag == Views.tag_of(scope, self.beat.epoch)

    def sent(self, head: Head, scope: Scope) -> bool:
        """Whether a message about a view is of this engine."""
        return not self.replaced(head) and self.names(head.tag, scope)

    def source(self, now: int, clock: int, shown: Source) -> Source:
        """Whether what the edge shows is fed. ``now`` is of the steady clock, ``clock`` of the
        machine's; ``shown`` is what streams show now."""
        beat = self.beat
        if beat is None or self.silent(now) or not beat.ready:
            source = Source(self._fed_at, "silent")
        else:
            since = beat.stale_since
            if since is not None:
                since = now - (clock - since)
            source = Source(since, beat.reason, tuple(Trouble(**one) for one in beat.troubles))
        # Without this, streams would get a heartbeat whenever two clocks round another way.
        known, since = shown.stale_since, source.stale_since
        if known is not None and since is not None and abs(known - since) < ROUNDED_MS:
            source = source._replace(stale_since=known)
        return source
