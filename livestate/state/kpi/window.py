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

    def count_end(self, call: Call) -> None:
        """A call is over, and it is known how it ended."""
        outcome = call.conclusion
        if outcome == "rejected_local":
            return  # the proxy's own policy: never offered to the network
        if is_challenge(call):
            self.setups -= 1  # maybe counted in the bucket before: the sum of both is right
            return
        attributes = call.attributes
        answered = attributes.answered_at is not None or call.state == "ended"
        self.offered += 1
        self.answered += answered
        self.effective += is_effective(call, answered, outcome)
        self.count_attempt(attributes.trunk, answered)
        self._count_talk(call, outcome)
        self._count_delay(call)

    def _count_talk(self, call: Call, outcome: str) -> None:
        answered_at = call.attributes.answered_at
        if answered_at is not None and outcome not in _NO_CONVERSATION_TIME:
            talk = call.over_at - answered_at
            if talk >= 0:  # else a clock was set during the call, and its length is unknown
                self.completed += 1
                self.talk_ms += talk

    def _count_delay(self, call: Call) -> None:
        """The post-dial delay: from the INVITE to the first 18x, else to the answer."""
        setup_at, progress_at = call.attributes.setup_at, call.attributes.progress_at
        first = progress_at if progress_at is not None else call.attributes.answered_at
        if first is not None and setup_at is not None and first >= setup_at:
            delay = max(1, first - setup_at)
            self.delay_ms += delay
            place = round(math.log(delay) / STEP)
            self.delays[place] = self.delays.get(place, 0) + 1


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
