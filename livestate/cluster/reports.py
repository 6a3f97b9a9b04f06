"""How far behind each edge is: what edges count, and what an engine shows of its edges. Pure.

An edge sends its report with the list of its views, every two seconds. The engine keeps the last
one of each edge for :data:`SHOWN_MS`. A report is for people and alarms; nothing depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

SHOWN_MS: Final = 10_000
MOST_EDGES: Final = 1_000
NAME_CHARACTERS: Final = 200
WINDOW_MS: Final = 600_000  # a clock that was set is forgotten after two of these


class EdgeReport(NamedTuple):
    """What an edge says of itself. Counts are since its start."""

    name: str
    streams: int
    views: int
    lag_versions: int  # of the view that is furthest behind
    lag_ms: int
    frames: int
    gaps: int  # times that frames of a view were missing
    states: int  # states that it asked for
    dropped: int  # messages that it read too slowly


class Reports:
    """The last report of each edge. ``now`` is of the steady clock, ms."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, EdgeReport]] = {}

    def take(self, report: EdgeReport, now: int) -> None:
        if report.name in self._last or len(self._last) < MOST_EDGES:
            self._last[report.name] = now, report

    def current(self, now: int) -> list[EdgeReport]:
        """Those of edges that were heard lately, by name."""
        for name, (at, _) in list(self._last.items()):
            if now - at > SHOWN_MS:
                del self._last[name]
        return [report for _, (_, report) in sorted(self._last.items())]


def read_report(fields: object) -> EdgeReport | None:
    """The report in a message of an edge; None if it has none that this version can read. Raises
    nothing."""
    if not isinstance(fields, Mapping):
        return None
    counts: dict[str, Any] = {name: fields.get(name, 0) for name in EdgeReport._fields}
    name = counts.pop("name")
    if not isinstance(name, str) or not all(isinstance(one, int) for one in counts.values()):
        return None
    return EdgeReport(name=name[:NAME_CHARACTERS], **counts)


class Delay:
    """How long messages of an engine are under way, in ms, beyond the fastest of them.

    The clocks of two machines differ, so only differences between messages mean something: the
    fastest message of the last ten to twenty minutes counts as one without delay.
    """

    def __init__(self) -> None:
        self.ms = 0  # of the last message
        self._fastest: int | None = None  # of this window
        self._fastest_before: int | None = None  # of the window before
        self._window_began = 0

    def take(self, sent: int, now: int) -> None:
        """A message arrived: ``sent`` on the sender's clock, ``now`` on ours."""
        taken = now - sent
        if self._fastest is None or now - self._window_began > WINDOW_MS:
            self._fastest_before, self._fastest = self._fastest, taken
            self._window_began = now
        self._fastest = min(self._fastest, taken)
        before = self._fastest_before
        self.ms = taken - (self._fastest if before is None else min(self._fastest, before))
