"""Key figures per scope: how many calls now, and how calls went in the last quarter of an hour.

Definitions (docs/decisions/0015): ASR and NER after ITU-T E.425 (03/2002, §1.3 and §1.5), with the
SIP responses of each outcome, which are our choice; ACD is conversation time over completed calls;
PDD is INVITE to first 18x, else to 200 (near to the SRD of RFC 6076). A call counts in the window
in which it ended, once: a lost call counts nowhere until somebody tells how it really ended. An
empty denominator is None, not 0.

A scope's figures come from the changes of that scope's calls alone: nothing here tells a company of
another. ``note`` only adds integers and never waits; what needs a division is done by ``figures``,
which somebody asks for every few seconds.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, Final

from livestate.active_calls import Change
from livestate.call import LIVE_STATES, Call

WINDOW_MS: Final = 900_000
BUCKET_MS: Final = 30_000
BUCKETS: Final = WINDOW_MS // BUCKET_MS
CPS_SECONDS: Final = 10
MOST_NAMED: Final = 20  # companies and trunks that are told, the busiest first
_DAY_MS: Final = 86_400_000  # a day is UTC's: nodes may stand in several time zones

# For the NER: besides answers, a network that did its work and met a user who would or could not.
_EFFECTIVE: Final = frozenset({"busy", "declined", "unavailable"})
_EFFECTIVE_ONCE_ALERTED: Final = frozenset({"no_answer", "canceled"})
# Neither tells how long people talked.
_NO_CONVERSATION_TIME: Final = frozenset({"expired", "lost"})
_STEP: Final = math.log(1.02)  # a bin of delays is 2 % wide: percentiles are right within 1 %


class Gauge:
    """How many now, and the most of today."""

    __slots__ = ("day", "now", "peak")

    def __init__(self) -> None:
        self.now = self.peak = self.day = 0

    def move(self, by: int, day: int) -> None:
        was, self.now = self.now, self.now + by
        if day != self.day:  # the day began with what was up
            self.day, self.peak = day, was
        if self.now > self.peak:
            self.peak = self.now

    def peak_of(self, day: int) -> int:
        return self.peak if day == self.day else self.now


class Bucket:
    """What ended in half a minute, how many set-ups it saw, and how many were up at its end."""

    __slots__ = ("answered", "asked", "at", "completed", "delay_ms", "delays", "effective", "live",
                 "lost", "offered", "seized", "setups", "talk_ms")  # fmt: skip

    def __init__(self, at: int) -> None:
        self.at = at  # its number: now // BUCKET_MS
        self.setups = self.offered = self.answered = self.effective = self.lost = 0
        self.completed = self.talk_ms = self.delay_ms = self.live = 0
        self.delays: dict[int, int] = {}  # bin → how many
        self.seized: dict[str, int] = {}  # trunk → attempts on it that are over
        self.asked: dict[str, int] = {}  # trunk → those that were answered

    def seize(self, trunk: str | None, answered: bool) -> None:
        if trunk is not None:
            self.seized[trunk] = self.seized.get(trunk, 0) + 1
            if answered:
                self.asked[trunk] = self.asked.get(trunk, 0) + 1

    def end(self, call: Call) -> None:
        """A call is over, and how is known."""
        outcome = call.conclusion
        if outcome == "rejected_local":
            return  # the proxy's own policy: never offered to the network
        answered = call.answered_at is not None or call.state == "ended"
        self.offered += 1
        self.answered += answered
        self.effective += (
            answered
            or outcome in _EFFECTIVE
            or (outcome in _EFFECTIVE_ONCE_ALERTED and call.progress_at is not None)
        )
        self.seize(call.trunk, answered)
        if call.answered_at is not None and outcome not in _NO_CONVERSATION_TIME:
            self.completed += 1
            self.talk_ms += max(0, call.over_at - call.answered_at)
        first = call.progress_at if call.progress_at is not None else call.answered_at
        if first is not None and call.setup_at is not None:
            delay = max(1, first - call.setup_at)
            self.delay_ms += delay
            place = round(math.log(delay) / _STEP)
            self.delays[place] = self.delays.get(place, 0) + 1


class Figures:
    """One scope's: gauges that move with every call, buckets for what is over."""

    __slots__ = ("answered", "buckets", "companies", "live", "peak_cps", "second", "seconds",
                 "since", "states", "trunks")  # fmt: skip

    def __init__(self) -> None:
        self.states = dict.fromkeys(sorted(LIVE_STATES), 0)
        self.live = Gauge()
        self.companies: dict[str, Gauge] = {}
        self.trunks: dict[str, Gauge] = {}
        self.answered: dict[str, int] = {}  # key → when, of the calls in conversation
        self.since: list[tuple[int, str]] = []  # a heap of the same, with some that are over
        self.buckets: deque[Bucket] = deque(maxlen=BUCKETS + 1)
        self.seconds: deque[int] = deque(maxlen=CPS_SECONDS + 1)  # set-ups of each second
        self.second = 0  # the one that the last of them counts
        self.peak_cps = Gauge()

    def bucket(self, now: int) -> Bucket:
        at = now // BUCKET_MS
        buckets = self.buckets
        if not buckets or buckets[-1].at < at:
            buckets.append(Bucket(at))
        return buckets[-1]

    def enter(self, call: Call, day: int) -> None:
        self.states[call.state] += 1
        self.live.move(1, day)
        if call.trunk is not None:
            _gauge(self.trunks, call.trunk).move(1, day)

    def leave(self, call: Call, day: int) -> None:
        self.states[call.state] -= 1
        self.live.move(-1, day)
        if call.trunk is not None:
            _gauge(self.trunks, call.trunk).move(-1, day)

    def talk(self, call: Call) -> None:
        at = call.answered_at
        if at is not None and self.answered.get(call.key) != at:
            self.answered[call.key] = at
            heappush(self.since, (at, call.key))

    def hush(self, call: Call) -> None:
        self.answered.pop(call.key, None)
        if len(self.since) > 2 * len(self.answered) + 64:
            self.since = [(at, key) for key, at in self.answered.items()]
            heapify(self.since)

    def take_back(self, up: list[Call], day: int) -> None:
        """As if each had entered, without a look at the day and a place in the heap for each."""
        for state, calls in Counter(call.state for call in up).items():
            self.states[state] += calls
        self.live.move(len(up), day)
        for trunk, calls in Counter(call.trunk for call in up).items():
            if trunk is not None:
                _gauge(self.trunks, trunk).move(calls, day)
        self.answered |= {
            call.key: call.answered_at for call in up if call.answered_at is not None
        }  # fmt: skip
        self.since = [(at, key) for key, at in self.answered.items()]
        heapify(self.since)

    def longest_since(self) -> int | None:
        """When the call that talks for longest was answered (ms)."""
        since = self.since
        while since and self.answered.get(since[0][1]) != since[0][0]:
            heappop(since)
        return since[0][0] if since else None

    def set_up(self, now: int) -> None:
        self._until(now // 1000)
        self.seconds[-1] += 1
        day = now // _DAY_MS
        busiest = self.peak_cps
        if busiest.day != day or self.seconds[-1] > busiest.peak:
            busiest.day, busiest.peak = day, self.seconds[-1]
        self.bucket(now).setups += 1

    def cps(self, now: int) -> float:
        """Set-ups a second, over the last ten that are over."""
        self._until(now // 1000)
        return sum(list(self.seconds)[:-1]) / CPS_SECONDS

    def _until(self, second: int) -> None:
        missing = second - self.second
        if missing > 0:
            self.seconds.extend([0] * min(missing, CPS_SECONDS + 1))
            self.second = second

    @property
    def idle(self) -> bool:
        return not self.live.now and not self.buckets


class Kpis:
    """The figures of all calls and of each company. ``clock`` is in ms and does not jump."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._started = clock()
        self._all = Figures()
        self._of: dict[str, Figures] = {}
        self._pruned = self._started // _DAY_MS

    def note(self, change: Change) -> None:
        """A call changed. Never waits; most changes are none to these figures."""
        before, after, _ = change
        if before is not None and (
            before.state == after.state and before.trunk == after.trunk
            and before.company_id == after.company_id and before.outcome == after.outcome
            and before.attempt == after.attempt and before.answered_at == after.answered_at
            and (before.state in LIVE_STATES or before.lost == after.lost)
        ):  # fmt: skip
            return
        is_live = after.live
        was_live = before is not None and before.live
        seen_by = self._seen_by(after)
        if (
            before is not None and was_live and is_live and before.trunk == after.trunk
            and before.company_id == after.company_id and before.attempt == after.attempt
        ):  # fmt: skip
            for figures in seen_by:  # it rings, is answered, held: as many are up as before
                figures.states[before.state] -= 1
                figures.states[after.state] += 1
                figures.talk(after)
            return
        now = self._clock()
        day = now // _DAY_MS
        if before is not None and was_live:
            moved = before.company_id != after.company_id
            left = self._seen_by(before) if moved else seen_by
            for figures in left:
                figures.leave(before, day)
            if moved or not is_live:
                for figures in left:
                    figures.hush(before)
            if before.company_id is not None:
                _gauge(self._all.companies, before.company_id).move(-1, day)
        if is_live:
            for figures in seen_by:
                figures.enter(after, day)
                figures.talk(after)
            if after.company_id is not None:
                _gauge(self._all.companies, after.company_id).move(1, day)
        if before is None:
            # A list tells of calls that are up, not of calls that begin.
            if is_live and not after.stamp & 1:
                for figures in seen_by:
                    figures.set_up(now)
        elif was_live and (after.attempt or 1) > (before.attempt or 1):
            for figures in seen_by:
                figures.bucket(now).seize(before.trunk, answered=False)
        for figures in seen_by:
            bucket = figures.bucket(now)
            bucket.live = figures.live.now
            if not is_live:
                if after.lost:
                    bucket.lost += was_live
                elif before is None or was_live or before.lost:
                    bucket.end(after)

    def take_back(self, calls: Iterable[Call]) -> None:
        """The calls of before our restart, first of all: they are up, but do not begin now."""
        day = self._clock() // _DAY_MS
        up = [call for call in calls if call.live]
        self._all.take_back(up, day)
        of: dict[str, list[Call]] = {}
        for call in up:
            if call.company_id is not None:
                of.setdefault(call.company_id, []).append(call)
        for company, own in of.items():
            self._of[company] = Figures()
            self._of[company].take_back(own, day)
            _gauge(self._all.companies, company).move(len(own), day)

    def figures(self, company_id: str | None) -> dict[str, Any]:
        """What a scope's people are told: all calls' figures for None, else one company's, in
        which no other company has a part."""
        now = self._clock()
        self._prune(now)
        mine = self._all if company_id is None else self._of.get(company_id, Figures())
        day, last = now // _DAY_MS, now // BUCKET_MS
        window = [bucket for bucket in mine.buckets if bucket.at > last - BUCKETS]
        offered = sum(bucket.offered for bucket in window)
        completed = sum(bucket.completed for bucket in window)
        told: dict[str, Any] = {
            "window_seconds": min(WINDOW_MS, now - self._started) // 1000,
            "concurrent": mine.live.now,
            "concurrent_peak": mine.live.peak_of(day),
            **mine.states,
            "cps": mine.cps(now),
            "cps_peak": mine.peak_cps.peak if mine.peak_cps.day == day else 0,
            "offered": offered,
            "completed": completed,
            "lost": sum(bucket.lost for bucket in window),
            "asr": _percent(sum(bucket.answered for bucket in window), offered),
            "ner": _percent(sum(bucket.effective for bucket in window), offered),
            "acd_seconds": _ratio(sum(b.talk_ms for b in window), completed * 1000),
            **_delays(window),
            "longest_since": mine.longest_since(),
            "trunks": list(_trunks(mine.trunks, window, day)),
            "series": _series(mine, self._started // BUCKET_MS, last),
        }
        if company_id is None:
            told["companies"] = list(_busiest(mine.companies, day))
        return told

    def _seen_by(self, call: Call) -> tuple[Figures, ...]:
        company = call.company_id
        if company is None:
            return (self._all,)
        own = self._of.get(company)
        if own is None:
            own = self._of[company] = Figures()
        return self._all, own

    def _prune(self, now: int) -> None:
        """Once a day: names that were not heard of today."""
        day = now // _DAY_MS
        if day == self._pruned:
            return
        self._pruned = day
        oldest = now // BUCKET_MS - BUCKETS
        for company, figures in tuple(self._of.items()):
            while figures.buckets and figures.buckets[0].at <= oldest:
                figures.buckets.popleft()
            if figures.idle:
                del self._of[company]
        trunks = [figures.trunks for figures in (self._all, *self._of.values())]
        for names in (self._all.companies, *trunks):
            for name in [name for name, gauge in names.items() if not gauge.now]:
                del names[name]


def _gauge(names: dict[str, Gauge], name: str) -> Gauge:
    found = names.get(name)
    if found is None:
        found = names[name] = Gauge()
    return found


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 2) if whole else None


def _percent(part: int, whole: int) -> float | None:
    return _ratio(100 * part, whole)


def _delays(window: list[Bucket]) -> dict[str, float | None]:
    bins: Counter[int] = Counter()
    for bucket in window:
        bins.update(bucket.delays)
    count = bins.total()
    return {
        "pdd_ms": _ratio(sum(bucket.delay_ms for bucket in window), count),
        "pdd_p50_ms": _quantile(bins, 0.50 * count),
        "pdd_p95_ms": _quantile(bins, 0.95 * count),
    }


def _quantile(bins: Counter[int], rank: float) -> float | None:
    """The value that more than ``rank`` values do not exceed."""
    seen = 0
    for place in sorted(bins):
        seen += bins[place]
        if seen > rank:
            return round(math.exp(place * _STEP))
    return None


def _busiest(names: dict[str, Gauge], day: int) -> Iterator[tuple[str, int, int]]:
    """(name, now, peak of the day), the busiest first."""
    ranked = sorted(names.items(), key=lambda one: (-one[1].now, -one[1].peak_of(day), one[0]))
    for name, gauge in ranked[:MOST_NAMED]:
        yield name, gauge.now, gauge.peak_of(day)


def _trunks(
    names: dict[str, Gauge], window: list[Bucket], day: int
) -> Iterator[tuple[str, int, int, int, float | None]]:
    """(name, now, peak of the day, seizures, ASR): every attempt on a trunk is a seizure of it, so
    a re-routed call counts on both."""
    for name, now, peak in _busiest(names, day):
        seized = sum(bucket.seized.get(name, 0) for bucket in window)
        answered = sum(bucket.asked.get(name, 0) for bucket in window)
        yield name, now, peak, seized, _percent(answered, seized)


def _series(mine: Figures, first: int, last: int) -> dict[str, list[float | None]]:
    """The window bucket by bucket, oldest first; the last one is not over yet. Before the ``first``
    one nobody counted."""
    by_number = {bucket.at: bucket for bucket in mine.buckets}
    told: dict[str, list[float | None]] = {
        name: [] for name in ("concurrent", "cps", "asr", "ner", "acd_seconds", "pdd_ms")
    }
    live = 0
    for number in range(last - BUCKETS, last + 1):
        bucket = by_number.get(number) or Bucket(number)
        live = bucket.live if number in by_number else live
        if number == last - BUCKETS:
            continue  # only what was up when the window began
        counted = number >= first
        up = mine.live.now if number == last else live
        told["concurrent"].append(up if counted else None)
        told["cps"].append(round(bucket.setups * 1000 / BUCKET_MS, 2) if counted else None)
        told["asr"].append(_percent(bucket.answered, bucket.offered))
        told["ner"].append(_percent(bucket.effective, bucket.offered))
        told["acd_seconds"].append(_ratio(bucket.talk_ms, bucket.completed * 1000))
        told["pdd_ms"].append(_ratio(bucket.delay_ms, sum(bucket.delays.values())))
    return told
