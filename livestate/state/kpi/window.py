"""What ended in the last quarter of an hour, in buckets of half a minute.

A scope (:mod:`livestate.state.kpi.scope_kpis`) adds to its latest bucket; the report sums those of
the window. A bucket only adds integers: divisions wait for the report.
"""

from __future__ import annotations

import math
from typing import Final

from livestate.state.call import Call

WINDOW_MS: Final = 900_000
BUCKET_MS: Final = 30_000
BUCKETS: Final = WINDOW_MS // BUCKET_MS
MOST_TRUNKS: Final = 1_000  # counted in half a minute; a network has dozens, more are made up

# For the NER (ITU-T E.425 §1.5): besides answers, calls for which the network did its work and met
# a user who could not or would not answer. The second set counts only after the phone had rung.
EFFECTIVE: Final = frozenset({"busy", "declined", "unavailable", "redirected"})
EFFECTIVE_ONCE_ALERTED: Final = frozenset({"no_answer", "canceled"})
# With these outcomes it is not known how long people talked.
_NO_CONVERSATION_TIME: Final = frozenset({"expired", "lost"})

# Delays are counted in bins whose borders grow by 2 %: a percentile read from the bins is right
# within 1 %, and half a minute needs some hundred integers instead of a list of all delays.
STEP: Final = math.log(1.02)


class Bucket:
    """What ended in half a minute, how many set-ups it saw, and how many calls were up at its end.

    ``at`` is its number: ms since the epoch // BUCKET_MS.
    """

    __slots__ = ("answered", "answered_attempts", "at", "attempts", "completed", "delay_ms",
                 "delays", "effective", "live", "lost", "offered", "setups",
                 "talk_ms")  # fmt: skip

    def __init__(self, at: int) -> None:
        self.at = at
        self.setups = self.offered = self.answered = self.effective = self.lost = 0
        self.completed = self.talk_ms = self.delay_ms = self.live = 0
        self.delays: dict[int, int] = {}  # bin → how many
        self.attempts: dict[str, int] = {}  # trunk → attempts on it that are over
        self.answered_attempts: dict[str, int] = {}  # trunk → those that were answered

    def count_attempt(self, trunk: str | None, answered: bool) -> None:
        """An attempt on a trunk is over: the call ended, or was routed again."""
        if trunk is not None and (trunk in self.attempts or len(self.attempts) < MOST_TRUNKS):
            self.attempts[trunk] = self.attempts.get(trunk, 0) + 1
            if answered:
                self.answered_attempts[trunk] = self.answered_attempts.get(trunk, 0) + 1

    def count_end(self, ending: Ending) -> None:
        """A call is over, and it is known how it ended."""
        if ending.outcome == "rejected_local":
            return  # the proxy's own policy: never offered to the network
        if ending.outcome == "challenged":
            self.setups -= 1  # maybe counted in the bucket before: the sum of both is right
            return
        self.offered += 1
        self.answered += ending.answered
        self.effective += ending.effective
        self.count_attempt(ending.trunk, ending.answered)
        if ending.talk_ms >= 0:
            self.completed += 1
            self.talk_ms += ending.talk_ms
        if ending.delay_ms >= 0:
            self.delay_ms += ending.delay_ms
            self.delays[ending.bin] = self.delays.get(ending.bin, 0) + 1


class Ending:
    """How a call went that is over: found once, and counted in every scope of the call."""

    __slots__ = ("answered", "bin", "code", "delay_ms", "effective", "outcome", "talk_ms",
                 "trunk")  # fmt: skip

    def __init__(self, call: Call) -> None:
        attributes = call.attributes
        answered_at, setup_at = attributes.answered_at, attributes.setup_at
        outcome = attributes.outcome
        if outcome is None:
            outcome = call.conclusion
        answered = answered_at is not None or call.state == "ended"
        self.outcome = outcome
        self.answered = answered
        self.effective = is_effective(call, answered, outcome)
        self.code = attributes.sip_code
        self.trunk = attributes.trunk
        # How long people talked. Negative where that is not known: also where a clock was set
        # during the call.
        self.talk_ms = -1
        if answered_at is not None and outcome not in _NO_CONVERSATION_TIME:
            self.talk_ms = call.over_at - answered_at
        # The post-dial delay: from the INVITE to the first 18x, else to the answer; -1 if unknown.
        self.delay_ms = -1
        self.bin = 0
        first = attributes.progress_at if attributes.progress_at is not None else answered_at
        if first is not None and setup_at is not None and first >= setup_at:
            self.delay_ms = max(1, first - setup_at)
            self.bin = round(math.log(self.delay_ms) / STEP)

    @property
    def outside(self) -> bool:
        """Whether the attempt was never offered to the network (decision 15)."""
        return self.outcome == "rejected_local" or self.outcome == "challenged"


def is_effective(call: Call, answered: bool, outcome: str) -> bool:
    """Whether the network did its work for a call that is over, for the NER."""
    return (
        answered
        or outcome in EFFECTIVE
        or (outcome in EFFECTIVE_ONCE_ALERTED and call.attributes.progress_at is not None)
    )


def is_challenge(call: Call) -> bool:
    """Whether the INVITE was only challenged: the same call comes again with credentials."""
    return call.conclusion == "challenged"
