"""Costs that were raised on purpose: ``bench/accepted.toml``, one reviewed entry each.

[[accepted]]
measure = "G1 fold"      as the gate names it
at_most = 1.25           times the base
reason = "…"             for who reads the history
until = 2026-12-31       then it fails again: by then the base has it too
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

PATH: Final = Path(__file__).parents[1] / "accepted.toml"
LONGEST_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class Accepted:
    measure: str
    at_most: float
    reason: str
    until: date


def read(text: str, today: date) -> tuple[dict[str, Accepted], list[str]]:
    """By measure; and what is wrong with the file, a sentence each."""
    found: dict[str, Accepted] = {}
    wrong: list[str] = []
    for entry in tomllib.loads(text).get("accepted", []):
        one = _entry(entry)
        if isinstance(one, str):
            wrong.append(one)
        elif one.until < today:
            wrong.append(f"{one.measure}: its acceptance ended on {one.until}: remove the entry")
        elif (one.until - today).days > LONGEST_DAYS:
            wrong.append(f"{one.measure}: until {one.until} is more than {LONGEST_DAYS} days away")
        else:
            found[one.measure] = one
    return found, wrong


def _entry(entry: dict[str, Any]) -> Accepted | str:
    try:
        one = Accepted(**entry)
    except TypeError as error:
        return f"an entry is not measure, at_most, reason, until: {error}"
    if not isinstance(entry["reason"], str) or len(one.reason) < 10:
        return f"{one.measure}: a reason is a sentence"
    if not isinstance(entry["until"], date) or not isinstance(entry["at_most"], int | float):
        return f"{one.measure}: at_most is a number, until a date (2026-12-31)"
    return one
