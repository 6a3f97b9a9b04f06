"""``make faults``: rigs for the rows, and the table that is printed at their end.

A plain ``pytest`` does not run them: they take minutes, and a machine of their own.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.faults.rig import Rig
from tests.faults.roles import ROLES, SINGLE

ROWS = pytest.StashKey["list[Row]"]()
Rigs: TypeAlias = Callable[..., Any]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # thousands of walls


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any("faults" in argument for argument in config.args)
    return None if named else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # nats-py 2.16 drops a connection to a server that accepts and says nothing without closing it,
    # and Python warns of that from 3.11.5 on: ours is not the leak.
    for item in items:
        why = SINGLE.get(getattr(item, "originalname", item.name)) if ROLES else None
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=f"of a single process: {why}"))
        if item.path.parent == Path(__file__).parent:
            for what in ("unclosed <StreamWriter", "loop is closed"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{what}:ResourceWarning"))


@dataclass
class Row:
    """One line of the table."""

    name: str
    injected: list[str] = field(default_factory=list)
    healed: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    verdict: str = "BROKEN"

    def inject(self, what: str) -> None:
        self.injected.append(what)

    def heals(self, seconds: float) -> float:
        self.healed.append(seconds)
        return seconds

    def note(self, what: str) -> None:
        """A figure beside the verdict."""
        self.notes.append(what)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    row = Row(request.node.name.removeprefix("test_"))
    request.config.stash[ROWS].append(row)
    yield row
    report = request.node.stash.get(REPORT, None)
    row.began = time.monotonic() - row.began
    if report is not None:
        row.verdict = {"passed": "holds", "skipped": "not run"}.get(report.outcome, "BROKEN")


REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.when == "call":
        item.stash[REPORT] = report
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    terminalreporter.section("faults")
    for row in rows:
        healed = f"{max(row.healed):.1f} s" if row.healed else "–"
        cells = (f"{row.verdict:7}", f"{healed:>7}", row.name, "; ".join(row.injected),
                 ", ".join(row.notes))  # fmt: skip
        terminalreporter.write_line(" │ ".join(cells))
    for name, why in SINGLE.items() if ROLES else ():
        terminalreporter.write_line(f"not run │ {name.removeprefix('test_')}: {why}")
    held = sum(row.verdict == "holds" for row in rows)
    terminalreporter.write_line(f"{held} of {len(rows)} rows hold")


@pytest.fixture
def rigs(tmp_path: Path) -> Rigs:
    """``async with rigs(…) as rig``."""

    def made(**options: Any) -> Rig:
        return Rig(tmp_path / "keys", **options)

    return made
