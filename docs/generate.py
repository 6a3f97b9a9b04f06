"""Writes what the code can tell of itself: ``python -m docs.generate``, or ``--check`` for drift.

The state diagram comes from the transition table, the settings from their declarations, the
contract from its models, the routes from ``api/openapi.py``. A page that is written by hand says
so; these never are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from api.openapi import document
from api.settings import table
from docs import asyncapi, dashboards, javascript
from livestate.contract.events import contract_schema
from livestate.contract.states import LIVE_STATES
from livestate.state.nodes.health import HEALTH_TRANSITIONS
from livestate.state.transitions import TRANSITIONS

HERE: Final = Path(__file__).parent


def _drawn(
    table: Mapping[Any, Mapping[Any, Any]], first: str, final: Iterable[str] = ()
) -> list[str]:
    """A transition table as a Mermaid state diagram, and every pair of it as a table."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, after in table.items():
        for signal, target in after.items():
            if target != state:
                arrows.setdefault((state, target), []).append(signal)
    signals = sorted({signal for after in table.values() for signal in after})
    return [
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {first}",
        *(f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in arrows.items()),
        *(f"    {state} --> [*]" for state in final),
        "```",
        "",
        "| | " + " | ".join(signals) + " |",
        "|---|" + "---|" * len(signals),
        *(
            f"| **{state}** | " + " | ".join(after.get(one, "·") for one in signals) + " |"
            for state, after in table.items()
        ),
    ]


def call_states() -> str:
    """The transition table of a call."""
    final = [state for state in TRANSITIONS if state not in LIVE_STATES]
    return "\n".join([
        "<!-- made by `make docs` from livestate/state/transitions.py -->",
        "# The states of a call",
        "",
        "A call begins as `trying`; events of its node move it. `lost` is no event of the node: it",
        "says that the node's complete list of dialogs lacks the call.",
        "",
        "The table shows every pair of state (rows) and phase (columns). A dot: the table",
        "has no such step: the state stays, and the event is counted in",
        "`livestate_events_irregular_total`.",
        "",
        *_drawn(TRANSITIONS, "trying", final),
        "",
    ])  # fmt: skip


def node_health() -> str:
    """The transition table of a node's health."""
    return "\n".join([
        "<!-- made by `make docs` from livestate/state/nodes/health.py -->",
        "# The health of a node",
        "",
        "How far the calls of one SIP node can be believed. `GET /statusz` shows it for each node",
        "as `health`.",
        "",
        "| state | meaning | what happens next |",
        "|---|---|---|",
        "| `current` | every number has come | |",
        "| `gap` | numbers are missing, and may be late | after 1 s or 64 numbers they are lost |",
        "| `awaiting_list` | something is lost | the node is asked for its list of dialogs |",
        "| `unconfirmed` | no such list came for 15 s | its calls stay on the page, marked |",
        "| `expired` | nor until `LIVESTATE_REAP_SECONDS` | marked calls are closed as `lost` |",
        "",
        "A dot means that the signal does not change the state.",
        "",
        *_drawn(HEALTH_TRANSITIONS, "current"),
        "",
    ])  # fmt: skip


def settings() -> str:
    """All settings."""
    return (
        "<!-- made by `make docs` from api/settings.py -->\n# Settings\n\n"
        "Settings are environment variables. `NAME_FILE` names a file that holds `NAME`'s value.\n"
        "Unknown `LIVESTATE_…` names are reported with the nearest known one. Invalid values\n"
        "stop the start, all reported at once. `livestate doctor` checks more.\n\n" + table()
    )


def contract() -> str:
    """The event contract as JSON Schema."""
    return json.dumps(contract_schema(), indent=2) + "\n"


def routes() -> str:
    """The HTTP routes as OpenAPI."""
    return json.dumps(document(), indent=2) + "\n"


def prometheus_rule() -> str:
    """The alerts of ``deploy/prometheus/`` as the Prometheus Operator wants them."""
    groups = yaml.safe_load((HERE / "../deploy/prometheus/alerts.yaml").read_text())["groups"]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
        "metadata": {"name": "livestate", "labels": {"app.kubernetes.io/name": "livestate"}},
        "spec": {"groups": groups},
    }  # fmt: skip
    made = yaml.safe_dump(rule, sort_keys=False, width=100)
    return f"# made by `make docs` from deploy/prometheus/alerts.yaml\n{made}"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "call-states.md": call_states, "node-health.md": node_health,
    "settings.md": settings, "contract.schema.json": contract,
    "openapi.json": routes, "asyncapi.yaml": asyncapi.text,
    "../clients/js/src/contract.js": javascript.text,
    "../deploy/kubernetes/monitoring/prometheus-rule.yaml": prometheus_rule,
    **{f"../deploy/grafana/dashboards/{name}.json": partial(dashboards.text, name)
       for name in dashboards.DASHBOARDS},
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` name those that differ (exit 1)."""
    drifted = [
        name for name, make in PAGES.items()
        if not (HERE / name).exists() or (HERE / name).read_text() != make()
    ]  # fmt: skip
    if arguments == ["--check"]:
        for name in drifted:
            path = (HERE / name).resolve().relative_to(HERE.parent)
            print(f"{path} differs from the code: run `make docs`", file=sys.stderr)
        return int(bool(drifted))
    for name in drifted:
        (HERE / name).write_text(PAGES[name]())
        print(f"wrote {(HERE / name).resolve().relative_to(HERE.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
