"""The counters of one scope: calls that are up, and buckets of calls that are over.

:mod:`livestate.state.kpi.kpis` decides which calls move which counters;
:mod:`livestate.state.kpi.report` makes key figures of them. Nothing here waits or divides.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from livestate.contract.states import FINAL_STATES, LIVE_STATES
from livestate.state.call import Call
from livestate.state.kpi.gauges import DAY_MS, Gauge, gauge_of
from livestate.state.kpi.window import BUCKET_MS, BUCKETS, MOST_TRUNKS, Bucket

CPS_SECONDS: Final = 10


class LiveCounts(NamedTuple):
    """The calls of one scope that are up at a moment, counted as its counters need them."""

    states: Counter[str]
    trunks: Counter[str]
    answered: dict[str, int]  # key → when (ms)
    oldest_answered: list[tuple[int, str]]  # the same as a heap of (when, key)


def live_counts(calls: Iterable[Call]) -> dict[str | None, LiveCounts]:
    """The counts of all calls (None) and of each company. For 50,000 calls it takes 100 ms: a
    service
    that has clients runs it in a thread, with calls that do not change meanwhile."""
    live = [call for call in calls if call.state not in FINAL_STATES]
    of: defaultdict[str | None, list[Call]] = defaultdict(list)
    of[None] = []  # the first
    for call in live:
        of[call.attributes.company_id].append(call)
    of[None] = live
    return {company: _counts(own) for company, own in of.items()}


def _counts(calls: list[Call]) -> LiveCounts:
    # Comprehensions over the parts: a property of a call takes as long as the rest of the line.
    answered = {call.key: at for call in calls if (at := call.attributes.answered_at) is not None}
    oldest = [(at, key) for key, at in answered.items()]
    heapify(oldest)
    return LiveCounts(
        Counter([call.state for call in calls]),
        Counter([trunk for call in calls if (trunk := call.attributes.trunk) is not None]),
        answered,
        oldest,
    )


class ScopeKpis:
    """One scope's: gauges that move with every call, buckets for calls that are over.

    ``day`` and ``now`` are arguments: nothing here reads a clock.
    """

    __slots__ = ("answered", "buckets", "companies", "live", "most_trunks", "oldest_answered",
                 "peak_cps", "second", "seconds", "states", "trunks")  # fmt: skip

    def __init__(self) -> None:
        self.states = dict.fromkeys(sorted(LIVE_STATES), 0)
        self.live = Gauge()
        self.companies: dict[str, Gauge] = {}  # of the scope of all calls only
        self.trunks: dict[str, Gauge] = {}
        self.most_trunks = MOST_TRUNKS  # above that those without a call are forgotten
        # The page shows the longest conversation. The heap gives it without a look at all calls;
        # entries of calls that are over stay in it until they come to the top (lazy deletion).
        self.answered: dict[str, int] = {}  # key → when, of the calls in conversation
        self.oldest_answered: list[tuple[int, str]] = []
        self.buckets: deque[Bucket] = deque(maxlen=BUCKETS + 1)
        self.seconds: deque[int] = deque(maxlen=CPS_SECONDS + 1)  # set-ups of each second
        self.second = 0  # the one that the last of them counts
        self.peak_cps = Gauge()

    def parts(self) -> Iterator[object]:
        """All objects that these counters are made of. None refers back to another one."""
        yield from (self, self.live, self.peak_cps, self.buckets, self.seconds)
        yield from (self.oldest_answered, self.trunks, *self.trunks.values(), *self.buckets)

    # -- calls that are up -----------------------------------------------------------------

    def enter(self, call: Call, day: int) -> None:
        """A call is live in this scope from now on."""
        self.states[call.state] += 1
        self.live.move(1, day)
        if len(self.trunks) > self.most_trunks:
            self.trunks = {name: one for name, one in self.trunks.items() if one.now}
            self.most_trunks = MOST_TRUNKS + 2 * len(self.trunks)
        trunk = call.attributes.trunk
        if trunk is not None:
            gauge_of(self.trunks, trunk).move(1, day)

    def leave(self, call: Call, day: int) -> None:
        """A call left: it ended, moved to another company, or changed its trunk."""
        self.states[call.state] -= 1
        self.live.move(-1, day)
        trunk = call.attributes.trunk
        if trunk is not None:
            gauge_of(self.trunks, trunk).move(-1, day)

    def change_state(self, before: Call, after: Call) -> None:
        """A live call changed its state."""
        self.states[before.state] -= 1
        self.states[after.state] += 1
        if before.attributes.answered_at != after.attributes.answered_at:
            self.add_answered(after)

    def add_answered(self, call: Call) -> None:
        """Note since when the call is answered, if it is."""
        at = call.attributes.answered_at
        if at is not None and self.answered.get(call.key) != at:
            self.answered[call.key] = at
            heappush(self.oldest_answered, (at, call.key))

    def remove_answered(self, call: Call) -> None:
        """The call is no longer a conversation of this scope."""
        self.answered.pop(call.key, None)
        if len(self.oldest_answered) > 2 * len(self.answered) + 64:
            self.oldest_answered = [(at, key) for key, at in self.answered.items()]
            heapify(self.oldest_answered)

    def longest_since(self) -> int | None:
        """When the longest present conversation was answered (ms); None if there is none."""
        oldest = self.oldest_answered
        while oldest and self.answered.get(oldest[0][1]) != oldest[0][0]:
            heappop(oldest)
        return oldest[0][0] if oldest else None

    def restore(self, counts: LiveCounts, day: int) -> None:
        """As if each call had entered, without a look at the day and a place in the heap for
        each."""
        for state, calls in counts.states.items():
            self.states[state] += calls
        self.live.move(counts.states.total(), day)
        for trunk, calls in counts.trunks.items():
            gauge_of(self.trunks, trunk).move(calls, day)
        self.answered, self.oldest_answered = counts.answered, counts.oldest_answered

    def forget_live(self, day: int) -> None:
        """Forget all live calls. Ended calls stay counted."""
        self.states = dict.fromkeys(self.states, 0)
        for gauge in (self.live, *self.trunks.values(), *self.companies.values()):
            gauge.move(-gauge.now, day)
        self.answered, self.oldest_answered = {}, []

    # -- the window ------------------------------------------------------------------------

    def bucket(self, now: int) -> Bucket:
        """The bucket that counts at ``now`` (ms)."""
        at = now // BUCKET_MS
        buckets = self.buckets
        if not buckets or buckets[-1].at < at:
            buckets.append(Bucket(at))
        return buckets[-1]

    def restore_bucket(self, bucket: Bucket) -> None:
        """Put back a bucket from before a restart, unless one of its time is here."""
        kept = {one.at: one for one in self.buckets}
        kept.setdefault(bucket.at, bucket)
        self.buckets = deque((kept[at] for at in sorted(kept)), maxlen=BUCKETS + 1)

    def count_setup(self, now: int) -> None:
        """A call began."""
        second, day = now // 1000, now // DAY_MS
        if second > self.second:
            self._advance(second)
        seconds, busiest = self.seconds, self.peak_cps
        seconds[-1] = count = seconds[-1] + 1
        if busiest.day != day or count > busiest.peak:
            busiest.day, busiest.peak = day, count
        self.bucket(now).setups += 1

    def uncount_setup(self, now: int) -> None:
        """A set-up was challenged: the same call comes again with credentials."""
        self._advance(now // 1000)
        self.seconds[-1] -= 1

    def cps(self, now: int) -> float:
        """Set-ups a second, over the last ten seconds that are over."""
        self._advance(now // 1000)
        return max(0, sum(list(self.seconds)[:-1])) / CPS_SECONDS

    def _advance(self, second: int) -> None:
        missing = second - self.second
        if missing > 0:
            self.seconds.extend([0] * min(missing, CPS_SECONDS + 1))
            self.second = second
