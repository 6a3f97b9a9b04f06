"""When a trunk is past a limit, and which trunk stands first. Pure; one truth for all pages.

The trunks panel shows what is past a limit now; :mod:`livestate.state.alarms.readings` reads the
same functions, and its board raises an alarm once that has lasted. The limits are those of the
alarm rules (:class:`TrunkLimits`), by default:

* ``capacity``: live calls are 80 or 95 % of the capacity that the operator's file states.
* ``ner``: the network efficiency (NER) is below 85 or 70 %, of at least 20 attempts. Failed calls
  end first, so in the first five minutes after a start the calls that are up count as good ones.
* ``asr_drop``: the ASR of the last minutes is below 75 or 50 % of the trunk's own ASR in the hour
  before, of at least 20 attempts each, and chance is no likely reason.

Ratios of few calls say little. So "chance is no likely reason" and the order of trunks are read
from the Wilson score interval (E. B. Wilson, 1927): the range in which the true ratio lies.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, Literal, NamedTuple, TypeAlias

from livestate.state.kpi.trunk_hour import Recent

Level: TypeAlias = Literal["", "warning", "alarm"]
Limits: TypeAlias = tuple[float | None, float | None]  # of a warning and of an alarm; None: none
CAPACITY: Final = (80.0, 95.0)  # % of the capacity
NER: Final = (85.0, 70.0)  # %
ASR_DROP: Final = (0.75, 0.5)  # of the ASR of the hour before
MIN_ATTEMPTS: Final = 20
MIN_COUNTED_MS: Final = 300_000
LIKELY: Final = 1.96  # standard deviations: 19 of 20 times
SURE: Final = 3.0  # every trunk is judged every few seconds: chance must not raise an alarm a day

LEVELS: Final[tuple[Level, ...]] = ("", "warning", "alarm")


class TrunkLimits(NamedTuple):
    """In %: of the capacity, of the NER, and of the ASR of the hour before."""

    capacity: Limits = CAPACITY
    ner: Limits = NER
    asr_drop: Limits = (100 * ASR_DROP[0], 100 * ASR_DROP[1])


class CompanyLimits(NamedTuple):
    """In %, of the panel of companies: of the NER, and of the ASR of the hour before."""

    ner: Limits = NER
    asr_drop: Limits = (100 * ASR_DROP[0], 100 * ASR_DROP[1])


DEFAULT_LIMITS: Final = TrunkLimits()


class Alarm(NamedTuple):
    """One rule that a trunk breaks: the value, and the limit that it has passed."""

    rule: Literal["capacity", "ner", "asr_drop"]
    level: Level
    value: float
    limit: float


def used_of(live: int, capacity: int | None) -> float | None:
    """How many % of a capacity are used; None is unknown."""
    return round(100 * live / capacity, 1) if capacity else None


def of_capacity(
    live: int, capacity: int | None, limits: Limits = DEFAULT_LIMITS.capacity
) -> Alarm | None:
    """``live`` calls of at most ``capacity``; None is unknown."""
    used = used_of(live, capacity)
    if used is None:
        return None
    for level, limit in _worst_first(limits):
        if used >= limit:
            return Alarm("capacity", level, used, limit)
    return None


def ner_of(attempts: int, faults: int, live: int, counted_ms: int) -> float | None:
    """The NER that is judged, in %; None where too few attempts are over. ``faults``: attempts in
    which the network failed. ``live``: calls that are up. ``counted_ms``: since counting began."""
    if attempts < MIN_ATTEMPTS:
        return None
    if counted_ms < MIN_COUNTED_MS:
        attempts += live
    return round(100 * (attempts - faults) / attempts, 1)


def of_ner(
    attempts: int, faults: int, live: int, counted_ms: int, limits: Limits = DEFAULT_LIMITS.ner
) -> Alarm | None:
    """Arguments as in :func:`ner_of`."""
    ner = ner_of(attempts, faults, live, counted_ms)
    if ner is None:
        return None
    for level, limit in _worst_first(limits):
        if ner < limit:
            return Alarm("ner", level, ner, limit)
    return None


def is_measured(hour: Recent) -> bool:
    """Whether there are enough attempts to tell a drop of the ASR."""
    return min(hour.attempts, hour.attempts_before) >= MIN_ATTEMPTS and hour.answered_before > 0


def of_asr_drop(hour: Recent, limits: Limits = DEFAULT_LIMITS.asr_drop) -> Alarm | None:
    """Whether the ASR of the last minutes fell against the hour before."""
    if not is_measured(hour):
        return None
    now, before = hour.answered / hour.attempts, hour.answered_before / hour.attempts_before
    if wilson(hour.answered, hour.attempts, SURE)[1] >= before:
        return None
    for level, share in _worst_first(limits):
        if 100 * now < share * before:
            return Alarm("asr_drop", level, round(100 * now, 1), round(100 * before, 1))
    return None


def _worst_first(limits: Limits) -> list[tuple[Level, float]]:
    warning, alarm = limits
    found: list[tuple[Level, float]] = []
    if alarm is not None:
        found.append(("alarm", alarm))
    if warning is not None:
        found.append(("warning", warning))
    return found


def worst(alarms: list[Alarm]) -> Level:
    """The highest level of the alarms."""
    return max((one.level for one in alarms), key=LEVELS.index, default="")


def rank(level: Level, attempts: int, faults: int, used: float) -> tuple[int, float, float]:
    """Sorts the worst first: by level, then by how many attempts the network at least loses, then
    by how full the trunk is. A carrier that failed 15 of 15 is worse than one that failed 100 of
    10,000."""
    return -LEVELS.index(level), -wilson(faults, attempts, LIKELY)[0], -used


def wilson(some: int, of: int, deviations: float) -> tuple[float, float]:
    """The range in which the true ratio of ``some`` in ``of`` lies; all of 0 to 1 for nothing."""
    if not of:
        return 0.0, 1.0
    square = deviations * deviations
    ratio = some / of
    middle = ratio + square / (2 * of)
    half = deviations * sqrt(ratio * (1 - ratio) / of + square / (4 * of * of))
    whole = 1 + square / of
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)
