"""Writes what the code can tell of itself: ``python -m docs.generate``, or ``--check`` for drift.

The state diagram comes from the transition table, the settings from their declarations, the
contract from its models, the routes from ``api/openapi.py``. A page that is written by hand says
so; these never are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from api.openapi import document
from api.settings import table
from livestate.call import LIVE_STATES, TRANSITIONS
from livestate.events import contract_schema

HERE: Final = Path(__file__).parent


def call_states() -> str:
    """The transition table as a Mermaid state diagram and as a table."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, after in TRANSITIONS.items():
        for phase, target in after.items():
            if target != state:
                arrows.setdefault((state, target), []).append(phase)
    lines = [f"    {a} --> {b}: {', '.join(phases)}" for (a, b), phases in arrows.items()]
    final = [state for state in TRANSITIONS if state not in LIVE_STATES]
    phases = sorted({phase for after in TRANSITIONS.values() for phase in after})
    rows = [
        f"| **{state}** | " + " | ".join(after.get(p, "·") for p in phases) + " |"
        for state, after in TRANSITIONS.items()
    ]
    return "\n".join([
        "<!-- made by `make docs` from livestate/call.py -->",
        "# The states of a call",
        "",
        "A call that nobody has seen is `trying`; what its node then says moves it. `lost` is said",
        "by nobody: it is what a complete list of the node's dialogs says of a call it lacks.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> trying",
        *lines,
        *(f"    {state} --> [*]" for state in final),
        "```",
        "",
        "Every pair, by state (rows) and phase (columns). A dot: the table knows no such step, the",
        "state stays, and the event is counted in `livestate_events_irregular_total`.",
        "",
        "| | " + " | ".join(phases) + " |",
        "|---|" + "---|" * len(phases),
        *rows,
        "",
    ])  # fmt: skip


def settings() -> str:
    """All settings."""
    return (
        "<!-- made by `make docs` from api/settings.py -->\n# Settings\n\n"
        "All are environment variables. An unknown `LIVESTATE_…` is warned about with the nearest "
        "name;\na wrong value stops the start, with everything that is wrong at once. "
        "`livestate doctor` says more.\n\n" + table()
    )


def contract() -> str:
    """The event contract as JSON Schema."""
    return json.dumps(contract_schema(), indent=2) + "\n"


def routes() -> str:
    """The HTTP routes as OpenAPI."""
    return json.dumps(document(), indent=2) + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "call-states.md": call_states, "settings.md": settings, "contract.schema.json": contract,
    "openapi.json": routes,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` name those that differ (exit 1)."""
    drifted = [
        name for name, make in PAGES.items()
        if not (HERE / name).exists() or (HERE / name).read_text() != make()
    ]  # fmt: skip
    if arguments == ["--check"]:
        for name in drifted:
            print(f"docs/{name} differs from the code: run `make docs`", file=sys.stderr)
        return int(bool(drifted))
    for name in drifted:
        (HERE / name).write_text(PAGES[name]())
        print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
