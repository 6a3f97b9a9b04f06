"""How attempts on each trunk went in the last quarter of an hour, for all calls and each company.

:class:`~livestate.state.kpi.kpis.Kpis` calls :meth:`TrunkWindow.count` for every change that moves
a key figure; :mod:`livestate.state.kpi.trunk_report` reads :meth:`TrunkWindow.buckets_of`. A
company's counts come from the changes of its own calls alone.

An attempt counts as a seizure when it begins, and in all other figures when it is over: because
the call ended, or because it was routed again. Calls without a trunk count under :data:`NO_TRUNK`,
so the reasons of all failures are here.

Trunk names come from the nodes, and a caller may have a say in them. So all calls have at most
``most`` names at once (beside those that the operator's file names); attempts on any other trunk
count together, as ``others``. A company has :data:`MOST_OF_COMPANY` names in half a minute, and
all companies together :data:`MOST_PAIRS`. Counts are arrays, which the garbage collector does not
visit. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from livestate.contract.states import FINAL_STATES
from livestate.state.call import Call
from livestate.state.kpi.trunk_hour import TrunkHour
from livestate.state.kpi.window import (
    BUCKET_MS,
    BUCKETS,
    Ending,
)
from livestate.state.position import is_from_sync

MOST_NAMED: Final = 1_000
MOST_OF_COMPANY: Final = 50
MOST_PAIRS: Final = 20_000  # (company, trunk) in half a minute
MOST_CODES: Final = 24  # different responses on one trunk in half a minute
OTHER_CODES: Final = "other"
NO_TRUNK: Final = ""  # the contract allows no empty name

# The places of one trunk's counts in its array.
SEIZURES, ATTEMPTS, ANSWERED, FAULTS, COMPLETED, TALK_MS, DELAYS, DELAY_MS = range(8)
PLACES: Final = 8
Counts: TypeAlias = "array[int]"
_ZEROS: Final = bytes(8 * PLACES)

# Of a response that ended an attempt before the call was routed again, for the NER: the network
# did its work. The two others did once the phone had rung (408 and a CANCEL).
_EFFECTIVE_CODES: Final = frozenset({480, 486, 600, 603, 607})
_EFFECTIVE_CODES_ONCE_ALERTED: Final = frozenset({408, 487})


class Trunks:
    """Of one scope in one half minute: trunk → counts, and trunk → response → attempts that it
    ended without an answer."""

    __slots__ = ("codes", "counts")

    def __init__(self) -> None:
        self.counts: dict[str, Counts] = {}
        self.codes: dict[str, dict[str, int]] = {}

    def counts_of(self, trunk: str) -> Counts:
        found = self.counts.get(trunk)
        if found is None:
            found = self.counts[trunk] = array("q", _ZEROS)
        return found

    def count_code(self, trunk: str, code: str) -> None:
        codes = self.codes.setdefault(trunk, {})
        if code not in codes and len(codes) >= MOST_CODES:
            code = OTHER_CODES
        codes[code] = codes.get(code, 0) + 1


class Summed(NamedTuple):
    """Counts of one trunk, its responses, and [attempts, answered] of each minute."""

    counts: Counts
    codes: dict[str, int]
    minutes: list[list[int]]


class Bucket:
    """Half a minute. ``at`` is its number: ms since the epoch // BUCKET_MS."""

    __slots__ = ("at", "companies", "everything", "others", "pairs")

    def __init__(self, at: int) -> None:
        self.at = at
        self.everything = Trunks()
        self.others = Trunks()  # under NO_TRUNK: trunks of all calls beyond the named ones
        self.companies: dict[str, Trunks] = {}
        self.pairs = 0


class TrunkWindow:
    """The buckets of the window. ``most``: trunks with counts of their own, of all calls."""

    def __init__(self, most: int = MOST_NAMED) -> None:
        self.buckets: deque[Bucket] = deque()
        self.most = most
        self._kept: frozenset[str] = frozenset()
        self._named: Counter[str] = Counter()  # trunk → buckets that name it
        self.hour = TrunkHour()
        # Sums of the buckets of all calls that are over, for the report: made once in half a
        # minute, because a page asks every few seconds. ``summed_at``: number of the bucket after.
        self.summed_at = -1
        self.summed: dict[str, Summed] = {}

    def keep(self, names: Iterable[str]) -> None:
        """Trunks of the operator's file: always counted by name."""
        self._kept = frozenset(names)

    def count(self, before: Call | None, after: Call, ending: Ending | None, now: int) -> None:
        """A call changed. ``ending``: how it went, if it is over and that is known. Never waits;
        adds integers."""
        outside = ending is not None and ending.outside
        if before is None:
            # A call that a list is the first to tell of began at an unknown time, maybe long ago.
            if is_from_sync(after.position):
                return
            if not outside:
                self._seize(after, now)
        elif before.state not in FINAL_STATES:
            was, attributes = before.attributes, after.attributes
            if outside:  # challenged: the same call comes again with credentials
                self._seize(before, now, -1)
            elif (attributes.attempt or 1) > (was.attempt or 1):
                self._end_attempt_before(before, after, now)
                self._seize(after, now)
            elif attributes.trunk != was.trunk:
                self._seize(after, now)
        elif not before.lost:
            return
        if ending is not None and not outside:
            self._end(after, ending, now)

    def bucket(self, now: int) -> Bucket:
        """The bucket that counts at ``now``."""
        at = now // BUCKET_MS
        buckets = self.buckets
        if not buckets or buckets[-1].at < at:
            while buckets and buckets[0].at <= at - BUCKETS:
                self._forget(buckets.popleft())
            buckets.append(Bucket(at))
        return buckets[-1]

    def buckets_of(self, company: str | None, now: int) -> list[tuple[int, Trunks]]:
        """(number, counts) of the window's buckets, of all calls (None) or of one company."""
        self.bucket(now)
        if company is None:
            return [(one.at, one.everything) for one in self.buckets]
        return [
            (one.at, one.companies[company]) for one in self.buckets if company in one.companies
        ]

    def restore(self, bucket: Bucket) -> None:
        """Put back a bucket from before a restart; its time is not counted here."""
        if bucket.everything.counts or bucket.others.counts:
            self.summed_at = -1
            self._named.update(bucket.everything.counts.keys())
            self.buckets = deque(sorted((*self.buckets, bucket), key=lambda one: one.at))

    def _forget(self, bucket: Bucket) -> None:
        for trunk in bucket.everything.counts:
            self._named[trunk] -= 1
            if not self._named[trunk]:
                del self._named[trunk]

    # -- counting ----------------------------------------------------------------------------

    def _seize(self, call: Call, now: int, by: int = 1) -> None:
        bucket, trunk = self.bucket(now), call.attributes.trunk or NO_TRUNK
        for trunks, name in self._places(bucket, call, trunk):
            trunks.counts_of(name)[SEIZURES] += by

    def _end_attempt_before(self, before: Call, after: Call, now: int) -> None:
        """An attempt failed, and the call is routed again. The event of the next attempt carries
        the response that ended this one; one that repeats an older response carries none."""
        code = after.attributes.sip_code
        if code is not None and (code < 300 or code == before.attributes.sip_code):
            code = None
        rang = before.attributes.progress_at is not None
        effective = code is not None and (
            code < 400
            or code in _EFFECTIVE_CODES
            or (rang and code in _EFFECTIVE_CODES_ONCE_ALERTED)
        )
        bucket, trunk = self.bucket(now), before.attributes.trunk or NO_TRUNK
        for trunks, name in self._places(bucket, before, trunk):
            counts = trunks.counts_of(name)
            counts[ATTEMPTS] += 1
            counts[FAULTS] += not effective
            trunks.count_code(name, "no_reply" if code is None else str(code))
            if trunks is bucket.everything:
                self.hour.add(name, 1, 0, now)

    def _end(self, call: Call, ending: Ending, now: int) -> None:
        """A call is over, and it is known how it ended."""
        bucket, trunk = self.bucket(now), ending.trunk or NO_TRUNK
        talk, delay, code = ending.talk_ms, ending.delay_ms, ending.code
        for trunks, name in self._places(bucket, call, trunk):
            counts = trunks.counts_of(name)
            counts[ATTEMPTS] += 1
            if ending.answered:
                counts[ANSWERED] += 1
            else:
                reason = ending.outcome if code is None or code < 300 else str(code)
                trunks.count_code(name, reason)
            if not ending.effective:
                counts[FAULTS] += 1
            if talk >= 0:
                counts[COMPLETED] += 1
                counts[TALK_MS] += talk
            if delay >= 0:
                counts[DELAYS] += 1
                counts[DELAY_MS] += delay
            if trunks is bucket.everything:
                self.hour.add(name, 1, int(ending.answered), now)

    def _places(self, bucket: Bucket, call: Call, trunk: str) -> list[tuple[Trunks, str]]:
        """Where an attempt of this call counts: of all calls, and of its company."""
        named, counts = self._named, bucket.everything.counts
        if trunk in counts:
            places = [(bucket.everything, trunk)]
        elif trunk in named or len(named) < self.most or trunk in self._kept:
            named[trunk] += 1
            places = [(bucket.everything, trunk)]
        else:
            places = [(bucket.others, NO_TRUNK)]
        company = call.attributes.company_id
        if company is not None:
            own = bucket.companies.get(company)
            if own is None and bucket.pairs < MOST_PAIRS:
                own = bucket.companies[company] = Trunks()
            if own is not None:
                if trunk in own.counts:
                    places.append((own, trunk))
                elif len(own.counts) < MOST_OF_COMPANY and bucket.pairs < MOST_PAIRS:
                    bucket.pairs += 1
                    places.append((own, trunk))
        return places
