"""The planned calls: one for each outcome, with the states that must be seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.e2e.lab import Planned

GATEWAY_A, OTHER_GATEWAY, KILLED = "44207", "4499", "4477"
COMPANIES: Final = ("101", "202", "303")

# called, caller's scenario, outcome, the states it passes; "trying" is distinguished only where it
# lasts, for a dashboard gets ten frames a second.
OUTCOMES: Final = {
    "answered, the caller hangs up": (GATEWAY_A + "00", "talks", "answered",
                                      ("ringing", "answered")),
    "answered, the callee hangs up": (GATEWAY_A + "06", "waits", "answered",
                                      ("ringing", "answered")),
    "early media": (GATEWAY_A + "01", "talks", "answered", ("early", "answered")),
    "cancelled": (GATEWAY_A + "03", "cancels", "canceled", ("ringing",)),
    "busy": (GATEWAY_A + "02", "talks", "busy", ("trying",)),
    "no answer": (GATEWAY_A + "03", "talks", "no_answer", ("ringing",)),
    "a silent gateway": (GATEWAY_A + "09", "talks", "no_reply", ("trying",)),
    "declined": (GATEWAY_A + "08", "talks", "declined", ("ringing",)),
    "unavailable": (GATEWAY_A + "07", "talks", "unavailable", ("ringing",)),
    "unknown number": (GATEWAY_A + "05", "talks", "invalid_number", ("trying",)),
    "no lines": (GATEWAY_A + "04", "talks", "congestion", ("trying",)),
    "rerouted": (OTHER_GATEWAY + "04", "talks", "answered", ("trying", "ringing", "answered")),
    "held": (GATEWAY_A + "00", "holds", "answered", ("ringing", "answered", "held", "answered")),
    "transferred": (GATEWAY_A + "00", "transfers", "answered", ("ringing", "answered")),
}  # fmt: skip


def every_outcome(rounds: int = 2) -> Iterator[tuple[str, Planned]]:
    """Each outcome so many times, by changing companies; besides an inbound call, and one that
    the proxy refuses."""
    numbers = iter(range(39_020_001, 39_030_000))
    for turn in range(rounds):
        company = COMPANIES[turn % len(COMPANIES)]
        for at, (name, (called, caller, outcome, passes)) in enumerate(OUTCOMES.items()):
            owner = COMPANIES[(at + turn) % len(COMPANIES)]
            yield name, Planned(str(next(numbers)), owner, called, caller, outcome, passes)
        yield "inbound", Planned(
            str(next(numbers)), company, "3902100", "talks", "answered", ("ringing", "answered"),
            inbound=True,
        )  # fmt: skip
        yield "refused by the proxy", Planned(
            str(next(numbers)), "nobody", GATEWAY_A + "00", "talks", "rejected_local", (),
            live=False,
        )  # fmt: skip


def talking(count: int, first: int, *, talk_ms: int, outcome: str = "answered",
            called: str = GATEWAY_A + "00") -> list[Planned]:  # fmt: skip
    """Answered calls that last so long."""
    return [
        Planned(str(first + n), COMPANIES[n % 3], called, "talks", outcome,
                ("ringing", "answered"), talk_ms=talk_ms)
        for n in range(count)
    ]  # fmt: skip
