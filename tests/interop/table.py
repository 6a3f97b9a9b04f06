"""The table that ``make interop`` prints at its end: proxy × provider × client, and the result.

A test takes the fixture ``ran`` and calls it once for each combination that it runs, before it
runs it: ``ran("nginx", "oidc-provider", "Chromium")``. The result is that of the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import pytest

DIRECT: Final = "none"  # no proxy
DEMO_KEY: Final = "demo key"  # a bearer token, or the cookie made of one
_PROPERTY: Final = "interop"
_RESULTS: Final = {"passed": "passed", "failed": "FAILED", "error": "FAILED", "skipped": "not run"}
Row = tuple[str, str, str, str]  # proxy, provider, client, result


class Ran(Protocol):
    """Records that this test runs a combination."""

    def __call__(
        self, proxy: str = DIRECT, provider: str = DEMO_KEY, client: str = ...
    ) -> None: ...


@pytest.fixture
def ran(request: pytest.FixtureRequest) -> Ran:
    """Records a row of the table. Names are the products' own."""

    def record(proxy: str = DIRECT, provider: str = DEMO_KEY, client: str = "httpx") -> None:
        request.node.user_properties.append((_PROPERTY, (proxy, provider, client)))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = sorted(_worst(_rows(terminalreporter)))
    if not rows:
        return
    head = ("proxy", "provider", "client", "result")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    terminalreporter.write_sep("-", "what was run")
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())


def _rows(reporter: pytest.TerminalReporter) -> Iterator[Row]:
    for outcome, result in _RESULTS.items():
        for report in reporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", ()):
                if name == _PROPERTY:
                    proxy, provider, client = value
                    yield proxy, provider, client, result


def _worst(rows: Iterator[Row]) -> Iterator[Row]:
    """One row for each combination, however many tests ran it."""
    results: dict[tuple[str, str, str], set[str]] = {}
    for proxy, provider, client, result in rows:
        results.setdefault((proxy, provider, client), set()).add(result)
    for combination, found in results.items():
        if "FAILED" in found:
            result = "FAILED"
        else:
            result = "passed in part" if len(found) > 1 else found.pop()
        yield (*combination, result)
