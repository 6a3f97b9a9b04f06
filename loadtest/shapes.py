"""Shapes of load as generators: each ``yield`` is the number of users wanted now.

    steady   a constant number of users
    ramp     grows over the first fifth, then steady (soak)
    steps    grows until one side reaches its limit: the knee
    storm    steady, and all connections are cut at once, three times

All end alike: calls stop changing, every client reads to the end, every state is compared.
"""

from __future__ import annotations

import logging
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from locust import LoadTestShape

from loadtest import machine
from loadtest.metrics import Metrics, percentiles
from loadtest.profiles import Profile
from loadtest.verdict import NOBODY, limited_by

log = logging.getLogger("livestate.loadtest")

REPORT_SECONDS: Final = 4.0  # workers report every 3 s
QUIET_SECONDS: Final = 3.0  # until the last frames are written
COMPARE_SECONDS: Final = 40.0
JOIN_SECONDS: Final = 2.0  # from the last user's start until it has its snapshot
ATTEMPTS: Final = 3
STORMS: Final = 3
RAMP_STEPS: Final = 10


class Planned(LoadTestShape):
    """Makes Locust follow a profile. ``ledger`` has the merged metrics of all workers."""

    def __init__(
        self, profile: Profile, ledger: Metrics, quiet: Path | None, admin: str | None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.profile = profile
        self.ledger = ledger
        self.steps: list[dict[str, Any]] = []
        self.limited_by = NOBODY
        self.ending = 0  # number of users at the final comparison
        self.measured = (0.0, 0.0)  # begin and end
        self._users = 0
        self._quiet = quiet
        self._admin = admin
        self._script = self._follow()

    def tick(self) -> tuple[int, float] | None:
        users = next(self._script, None)
        return None if users is None else (users, self.profile.spawn_rate)

    def _follow(self) -> Iterator[int]:
        users = yield from {
            "steady": self._steady,
            "ramp": self._ramp,
            "steps": self._until_failure,
            "storm": self._storm,
        }[self.profile.shape]()
        self.ending = users
        if self._quiet is not None:
            self._quiet.touch()
        self._say("quiet")
        yield from self._hold(users, QUIET_SECONDS)
        self._say("compare")
        deadline = time.time() + COMPARE_SECONDS
        while time.time() < deadline and not self._all_compared():
            yield users

    def _steady(self) -> Any:
        yield from self._step(self.profile.users)
        return self.profile.users

    def _ramp(self) -> Any:
        users, seconds = self.profile.users, self.profile.seconds
        for part in range(1, RAMP_STEPS + 1):
            self._users = users * part // RAMP_STEPS
            yield from self._hold(self._users, seconds / 5 / RAMP_STEPS)
        yield from self._step(users, seconds * 4 / 5)
        return users

    def _storm(self) -> Any:
        users = self.profile.users
        yield from self._hold(users, users / self.profile.spawn_rate + JOIN_SECONDS)
        self._say("measure")
        for _ in range(STORMS):
            yield from self._hold(users, self.profile.seconds / STORMS / 2)
            self._say("storm")
            yield from self._hold(users, self.profile.seconds / STORMS / 2)
        return users

    def _until_failure(self) -> Any:
        """More users with each step. A failed step is measured again, because a machine may have
        paused."""
        most = self.profile.users
        users = min(self.profile.step, most)
        while True:
            for _ in range(ATTEMPTS):
                yield from self._step(users)
                self.limited_by = limited_by(self.profile, self.steps[-1])
                if self.limited_by == NOBODY:
                    break
            if self.limited_by != NOBODY or users >= most:
                break
            users = min(users + self.profile.step, most)
        fewest = min(self.profile.step, most)
        calm = max(fewest, users - 2 * self.profile.step)  # a number that all can serve
        yield from self._hold(calm, 5)
        return calm

    def _step(self, users: int, seconds: float | None = None) -> Iterator[int]:
        """Wait until all have joined, measure, wait for the workers' reports, and record the
        step."""
        joining = max(0, users - self._users) / self.profile.spawn_rate
        self._users = users
        yield from self._hold(users, joining + JOIN_SECONDS)
        self._say("measure")
        counts = self.ledger.counts
        counts["worst loader cpu thousandths"] = 0
        worst_lag = counts.pop("worst loader lag µs", 0)
        before, used, began = Counter(counts), self._used(), time.time()
        seconds = seconds or self.profile.seconds
        yield from self._hold(users, min(seconds, REPORT_SECONDS))
        joined = counts["joined"]
        yield from self._hold(users, seconds - REPORT_SECONDS)
        ended, used_after = time.time(), self._used()
        self._say("rest")
        yield from self._hold(users, REPORT_SECONDS)
        step: dict[str, Any] = {
            "users": users,
            "seconds": ended - began,
            "joined": joined / (users * self.profile.streaming),
            "loader_cpu": counts["worst loader cpu thousandths"] / 1000,
            "loader_lag_ms": counts["worst loader lag µs"] / 1000,
        }
        for what in ("frames", "bytes"):
            spent = ended - began + REPORT_SECONDS
            step[f"{what}_per_second"] = (counts[what] - before[what]) / spent
        for name in used.keys() & used_after.keys():
            step[name] = (used_after[name] - used[name]) / (ended - began)
        step |= percentiles(self.ledger.between(began, ended))
        self.ledger.worst("loader lag µs", worst_lag)
        self.steps.append(step)
        log.info("%s", {name: round(one, 3) for name, one in step.items()})

    def _hold(self, users: int, seconds: float) -> Iterator[int]:
        until = time.time() + seconds
        while time.time() < until:
            yield users

    def _all_compared(self) -> bool:
        workers = max(1, getattr(self.runner, "worker_count", 1))
        return self.ledger.counts["workers that compared"] >= workers

    def _say(self, what: str) -> None:
        if what == "measure" and not self.measured[0]:
            self.measured = (time.time(), 0.0)
        if what in ("rest", "quiet"):
            self.measured = (self.measured[0], time.time())
        if self.runner is not None:
            self.runner.send_message(what)

    def _used(self) -> dict[str, float]:
        """CPU seconds so far of the machine, and of the service by its own metric."""
        used = {"machine_cpu": machine.busy_seconds()}
        if self._admin is None:
            return used
        spent = 0.0
        for admin in self._admin.split(","):
            try:
                with urllib.request.urlopen(f"{admin}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
            except OSError:
                return used
            for line in text.splitlines():
                if line.startswith("livestate_cpu_seconds_total "):
                    spent += float(line.split()[1])
        return used | {"service_cpu": spent}
