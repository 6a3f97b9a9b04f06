"""Reads the profiles of ``slo.toml``: load, shape and objectives."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

FILE: Final = Path(__file__).with_name("slo.toml")
Shape: TypeAlias = Literal["steady", "ramp", "steps", "storm"]


@dataclass(frozen=True, slots=True)
class Loader:
    """Limits of the loader itself; beyond them a run is INVALID."""

    cpu_share: float
    lag_ms: float
    publisher_late_ms: float


@dataclass(frozen=True, slots=True)
class Profile:
    """``users`` in all, spread by ``mix``; ``seconds`` of measuring (of each step, for steps);
    ``rate`` in events a second; ``step`` is how many users each step adds. Growth is judged after
    ``settle_seconds`` of the service, over at least ``plateau_seconds``. The loader may exceed its
    lag limit for ``late_share`` of the time; 0: never."""

    name: str
    shape: Shape
    users: int
    seconds: float
    rate: float
    companies: int
    processes: int
    spawn_rate: float
    mix: dict[str, int]
    objectives: dict[str, float]
    loader: Loader
    step: int = 0
    settle_seconds: float = 0.0
    plateau_seconds: float = 0.0
    late_share: float = 0.0

    @property
    def streaming(self) -> float:
        """The share of the users that read the stream."""
        return 1 - self.mix.get("Poller", 0) / sum(self.mix.values())

    def scaled(self, users: int | None, seconds: float | None, rate: float | None) -> Profile:
        """A copy with other numbers and the same objectives."""
        return replace(
            self, users=users or self.users, seconds=seconds or self.seconds, rate=rate or self.rate
        )

    def without(self, objectives: Collection[str]) -> Profile:
        """A copy without objectives that cannot be measured."""
        kept = {name: it for name, it in self.objectives.items() if name not in objectives}
        return replace(self, objectives=kept)


def names() -> list[str]:
    return [name for name in _all() if name != "loader"]


def profile(name: str) -> Profile:
    """A profile by name, or from a file of ``save``. Raises KeyError for an unknown name."""
    if name.endswith(".json"):
        saved = json.loads(Path(name).read_text())
        return Profile(**saved | {"loader": Loader(**saved["loader"])})
    every = _all()
    return Profile(name=name, loader=Loader(**every["loader"]), **every[name])


def save(profile: Profile, path: Path) -> None:
    """Write it for Locust, which is another process."""
    path.write_text(json.dumps(asdict(profile), indent=1))


def _all() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text())
