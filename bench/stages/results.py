"""Results of the stages, read from pytest-benchmark's JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Result:
    """One stage at one size. Times are microseconds of the clock for one unit."""

    stage: str
    unit: str
    units: int  # in a round
    rounds: int
    best: float
    median: float
    extra: dict[str, Any]  # what else the stage reports: calls or clients, CPU, percentiles

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        extra, spent = kept["extra_info"], kept["stats"]
        stage = kept["name"].removeprefix("test_").partition("[")[0]
        each = 1e6 / extra["units"]
        return cls(
            stage,
            extra["unit"],
            extra["units"],
            spent["rounds"],
            spent["min"] * each,
            spent["median"] * each,
            extra,
        )

    @property
    def size(self) -> str:
        """How much there was of what grows."""
        for what in ("call", "client"):
            if (many := self.extra.get(f"{what}s")) is not None:
                return f"{many:,} {what}{'s' if many > 1 else ''}"
        return ""


def read(path: Path) -> list[Result]:
    return [Result.of(kept) for kept in json.loads(path.read_text())["benchmarks"]]
