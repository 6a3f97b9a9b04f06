"""When a trunk raises an alarm, and which trunk stands first. Pure; one truth for all pages.

Three rules, each with a threshold of a warning and of an alarm:

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
CAPACITY: Final = (80.0, 95.0)  # % of the capacity: warning, alarm
NER: Final = (85.0, 70.0)  # %
ASR_DROP: Final = (0.75, 0.5)  # of the ASR of the hour before
MIN_ATTEMPTS: Final = 20
MIN_COUNTED_MS: Final = 300_000
LIKELY: Final = 1.96  # standard deviations: 19 of 20 times
SURE: Final = 3.0  # every trunk is judged every few seconds: chance must not raise an alarm a day

LEVELS: Final[tuple[Level, ...]] = ("", "warning", "alarm")


class Alarm(NamedTuple):
    """One rule that a trunk breaks: the value, and the limit that it has passed."""

    rule: Literal["capacity", "ner", "asr_drop"]
    level: Level
    value: float
    limit: float


def of_capacity(live: int, capacity: int | None) -> Alarm | None:
    """``live`` calls of at most ``capacity``; None is unknown."""
    if not capacity:
        return None
    used = round(100 * live / capacity, 1)
    for level, limit in (("alarm", CAPACITY[1]), ("warning", CAPACITY[0])):
        if used >= limit:
            return Alarm("capacity", level, used, limit)  # type: ignore[arg-type]
    return None


def of_ner(attempts: int, faults: int, live: int, counted_ms: int) -> Alarm | None:
    """``faults``: attempts in which the network failed. ``live``: calls that are up.
    ``counted_ms``: since counting began."""
    if attempts < MIN_ATTEMPTS:
        return None
    if counted_ms < MIN_COUNTED_MS:
        attempts += live
    ner = round(100 * (attempts - faults) / attempts, 1)
    for level, limit in (("alarm", NER[1]), ("warning", NER[0])):
        if ner < limit:
            return Alarm("ner", level, ner, limit)  # type: ignore[arg-type]
    return None


def of_asr_drop(hour: Recent) -> Alarm | None:
    """Whether the ASR of the last minutes fell against the hour before."""
    if min(hour.attempts, hour.attempts_before) < MIN_ATTEMPTS or not hour.answered_before:
        return None
    now, before = hour.answered / hour.attempts, hour.answered_before / hour.attempts_before
    if wilson(hour.answered, hour.attempts, SURE)[1] >= before:
        return None
    for level, share in (("alarm", ASR_DROP[1]), ("warning", ASR_DROP[0])):
        if now < share * before:
            return Alarm("asr_drop", level, round(100 * now, 1), round(100 * before, 1))  # type: ignore[arg-type]
    return None


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
