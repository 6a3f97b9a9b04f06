"""The files below ``/static/``: those of the page, and the client library that the page imports.

The library is published from ``clients/js``. A wheel holds a copy of it at
``api/dashboard/client/`` (pyproject.toml), so a source tree serves it under the same URL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

DASHBOARD: Final = Path(__file__).parent / "dashboard"
PAGES: Final = frozenset(
    {"live-calls.html", "login.html", "device.html", "error.html"}
)  # served at routes of their own, or in place of an error


def _assets() -> dict[str, Path]:
    """Name below ``/static/`` → file. Nothing else is read from the file system for a request."""
    found = {
        path.relative_to(DASHBOARD).as_posix(): path
        for path in DASHBOARD.rglob("*.*")
        if path.name not in PAGES
    }
    if not (DASHBOARD / "client").is_dir():
        library = Path(__file__).parents[1] / "clients" / "js" / "src"
        found |= {f"client/{path.name}": path for path in library.glob("*.js")}
    return found


ASSETS: Final = _assets()
