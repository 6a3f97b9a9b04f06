"""Key figures of random days against an oracle that recounts the whole log of changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state.active_calls import ActiveCalls, Change
from livestate.state.call import Call
from livestate.state.kpi.kpis import Kpis
from tests.calls import START, event
from tests.examples import examples

SECOND, HALF_MINUTE, WINDOW, DAY = 1_000, 30_000, 900_000, 86_400_000
BEGIN = START // DAY * DAY + DAY - 600_000  # ten minutes before midnight UTC
OUTCOMES = ("answered", "busy", "no_answer", "canceled", "declined", "unavailable", "failed",
            "congestion", "rejected_local", "expired", "lost")  # fmt: skip
REACHED = {"busy", "declined", "unavailable"}  # a user could not or would not answer
REACHED_IF_RUNG = {"no_answer", "canceled"}


@dataclass
class Log:
    """All changes of a day, and what anybody can count from them."""

    changes: list[tuple[int, Change]] = field(default_factory=list)

    def figures(self, company: str | None, now: int) -> dict[str, Any]:
        since = (self._old(now) + 1) * HALF_MINUTE
        live = self._live(company, now)
        setups = [at // SECOND for at in self._setups(company)]
        second = now // SECOND
        return self._ended(company, since, now) | {
            "concurrent": len(live),
            "concurrent_peak": self._peak(company, now, lambda call: True),
            **{state: sum(call.state == state for call in live)
               for state in ("trying", "ringing", "early", "answered", "held")},
            "cps": sum(second - 10 <= at < second for at in setups) / 10,
            "cps_peak": max((setups.count(at) for at in setups if at * SECOND // DAY == now // DAY),
                            default=0),
            "lost": sum(
                bool(before and before.live and after.lost and _shows(company, after))
                for at, (before, after, _) in self.changes if at >= since
            ),
            "longest_since": min((call.answered_at for call in live
                                  if call.answered_at is not None), default=None),
        }  # fmt: skip

    def _ended(self, company: str | None, since: int, until: int) -> dict[str, Any]:
        """Figures of the calls that ended in a time."""
        ends = [call for at, call in self._ends(company) if since <= at <= until]
        offered = [call for call in ends if call.conclusion != "rejected_local"]
        talks = [call.over_at - call.answered_at for call in offered
                 if call.answered_at is not None and call.conclusion not in ("expired", "lost")
                 and call.over_at >= call.answered_at]  # fmt: skip
        delays = sorted(max(1, delay) for call in offered if (delay := _delay(call)) is not None)
        return {
            "offered": len(offered),
            "completed": len(talks),
            "asr": _ratio(100 * sum(map(_is_answered, offered)), len(offered)),
            "ner": _ratio(100 * sum(map(_is_reached, offered)), len(offered)),
            "acd_seconds": _ratio(sum(talks) / 1000, len(talks)),
            "pdd_ms": _ratio(sum(delays), len(delays)),
            "pdd_p50_ms": _near(delays, 0.50),
            "pdd_p95_ms": _near(delays, 0.95),
        }

    def _setups(self, company: str | None) -> list[int]:
        return [at for at, (before, after, _) in self.changes
                if before is None and after.live and _shows(company, after)]  # fmt: skip

    def trunk(self, company: str | None, now: int, name: str) -> tuple[int, int, int, float | None]:
        """(calls up, peak of the day, attempts, ASR)."""
        recent = [(before, after) for at, (before, after, _) in self.changes
                  if at // HALF_MINUTE > self._old(now) and _shows(company, after)]  # fmt: skip
        rerouted = sum(
            bool(before and before.live and before.trunk == name)
            and (after.attempt or 1) > ((before.attempt if before else None) or 1)
            for before, after in recent
        )
        ends = [after for at, after in self._ends(company)
                if at // HALF_MINUTE > self._old(now) and after.trunk == name
                and after.conclusion != "rejected_local"]  # fmt: skip
        attempts = rerouted + len(ends)
        return (
            sum(call.trunk == name for call in self._live(company, now)),
            self._peak(company, now, lambda call: call.trunk == name), attempts,
            _ratio(100 * sum(_is_answered(call) for call in ends), attempts),
        )  # fmt: skip

    def series(self, company: str | None, started: int, now: int) -> dict[str, list[Any]]:
        """The curves: how many calls were up at the end of each half minute (now for the last),
        and what ended and began in each."""
        last = now // HALF_MINUTE
        curves: dict[str, list[Any]] = {}
        for number in range(last - 29, last + 1):
            begin = number * HALF_MINUTE
            end = begin + HALF_MINUTE - 1
            up = len(self._live(company, min(now, end)))
            begun = sum(begin <= at <= end for at in self._setups(company))
            counted = number >= started // HALF_MINUTE
            point = self._ended(company, begin, end) | {
                "concurrent": up if counted else None,
                "cps": round(begun / 30, 2) if counted else None,
            }
            for name in ("concurrent", "cps", "asr", "ner", "acd_seconds", "pdd_ms"):
                curves.setdefault(name, []).append(point[name])
        return curves

    def up(self, company: str, now: int) -> list[int]:
        """Calls of a company that are up, and their peak of the day."""
        return [len(self._live(company, now)), self._peak(company, now, lambda call: True)]

    def _old(self, now: int) -> int:
        return (now - WINDOW) // HALF_MINUTE

    def _ends(self, company: str | None) -> list[tuple[int, Call]]:
        return [(at, after) for at, (before, after, _) in self.changes
                if _shows(company, after) and not after.live and not after.lost
                and (before is None or before.live or before.lost)]  # fmt: skip

    def _live(self, company: str | None, until: int) -> list[Call]:
        calls = {change.after.key: change.after for at, change in self.changes if at <= until}
        return [call for call in calls.values() if call.live and _shows(company, call)]

    def _peak(self, company: str | None, now: int, wanted: Any) -> int:
        midnight = now // DAY * DAY
        calls: dict[str, Call] = {}
        peak = 0
        for at, (_, after, _) in [*self.changes, (now, (None, None, ()))]:
            if at >= midnight:  # before the change too: so the day began
                peak = max(peak, _up(calls, company, wanted))
            if after is not None:
                calls[after.key] = after
            if at >= midnight:
                peak = max(peak, _up(calls, company, wanted))
        return peak


def _up(calls: dict[str, Call], company: str | None, wanted: Any) -> int:
    return sum(call.live and _shows(company, call) and wanted(call) for call in calls.values())


def _shows(company: str | None, call: Call) -> bool:
    return company is None or call.company_id == company


def _is_answered(call: Call) -> bool:
    return call.answered_at is not None or call.state == "ended"


def _is_reached(call: Call) -> bool:
    rung = call.progress_at is not None
    return (
        _is_answered(call) or call.conclusion in REACHED
        or (rung and call.conclusion in REACHED_IF_RUNG)
    )  # fmt: skip


def _delay(call: Call) -> int | None:
    """INVITE to the first ringing, else to the answer."""
    first = call.progress_at if call.progress_at is not None else call.answered_at
    if first is None or call.setup_at is None or first < call.setup_at:
        return None
    return first - call.setup_at


def _ratio(part: float, whole: int) -> float | None:
    return round(part / whole, 2) if whole else None


def _near(values: list[int], share: float) -> Any:
    """The percentile, as near as the bins of 2 % promise."""
    if not values:
        return None
    value = values[int(share * len(values))]
    return pytest.approx(value, abs=0.01 * value + 0.51)


STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["setup", "setup", "ringing", "early_media", "answered", "hold", "resume",
                         "reroute", "ended", "failed"]),
        st.sampled_from("12345678"),
        st.fixed_dictionaries({}, optional={
            "company_id": st.sampled_from(["101", "102"]),
            "trunk": st.sampled_from(["gw-a", "gw-b"]),
            "attempt": st.integers(1, 3),
            "outcome": st.sampled_from(OUTCOMES),
            "age": st.tuples(st.integers(0, 90_000), st.integers(-2, 9_000),
                             st.integers(0, 40_000)),
        }),
    ),
    st.sampled_from([0, 300, 1_000, 9_000, 31_000, 400_000, 1_000_000, DAY]),  # ms pass
)  # fmt: skip


def facts(now: int, phase: str, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event beside its phase: times of set-up, first ringing and answer."""
    given = dict(given)
    age = given.pop("age", None)
    if age is not None:
        before, ringing, answer = age
        given["setup_at"] = now - before
        given["progress_at"] = now - before + ringing
        if phase in ("answered", "hold", "ended"):
            given["answered_at"] = now - before + answer
    if phase in ("ended", "failed"):
        given["ended_at"] = now
    else:
        given.pop("outcome", None)
    return given


@given(st.lists(STEPS, min_size=1, max_size=60))
@settings(max_examples=examples(600), deadline=None)
def test_figures_equal_a_recount_of_the_log(steps: list[Any]) -> None:
    now = BEGIN
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    kpis = Kpis(lambda: now)
    log = Log()
    for seq, step in enumerate(steps, 1):
        if isinstance(step, int):
            now += step
        else:
            phase, dialog, given = step
            one = event(phase, seq, ts=now, dialog=dialog, call_id=dialog,
                        **facts(now, phase, given))  # fmt: skip
            change = table.apply(one, now)
            if change is not None:
                log.changes.append((now, change))
                kpis.on_change(change)
        if seq % 7 and seq != len(steps):
            continue
        for company in (None, "101", "102"):
            figures = kpis.figures(company)
            wanted = log.figures(company, now)
            assert {name: figures[name] for name in wanted} == wanted
            assert figures["series"] == log.series(company, BEGIN, now)
            listed = {name: tuple(rest) for name, *rest in figures["trunks"]}
            for name in ("gw-a", "gw-b"):
                trunk = log.trunk(company, now, name)
                assert listed.get(name, trunk) == trunk
                assert name in listed or not trunk[0]
        shown = {name: rest for name, *rest in kpis.figures(None)["companies"] if any(rest)}
        counted = {name: up for name in ("101", "102") if any(up := log.up(name, now))}
        assert shown == counted
