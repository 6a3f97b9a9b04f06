"""A run as text, for a terminal and for ``docs/loadtest.md``."""

from __future__ import annotations

from typing import Any

from loadtest.outcome import Outcome
from loadtest.verdict import NOBODY, TIMED, Judgement


def table(judgement: Judgement) -> str:
    """For a terminal."""
    lines = [f"{'objective':22}{'limit':>12}{'found':>12}"]
    for row in judgement.rows:
        found = "nothing" if row.found is None else f"{row.found:,.5g}"
        sign = "≥" if row.least else "≤"
        what = row.objective.removeprefix("least ")
        unit = " ms" if row.timed else ""
        mark = "" if row.kept else "  BROKEN"
        lines.append(f"{what:22}{f'{sign} {row.limit:g}{unit}':>12}{found + unit:>12}{mark}")
    lines += [f"INVALID: {reason}" for reason in judgement.reasons]
    return "\n".join([*lines, "", judgement.verdict])


def report(outcome: Outcome) -> str:
    """All that a person wants to see when a run has ended."""
    told = outcome.told
    parts = [summary(told)]
    if told.get("steps"):
        parts.append(stairs(told))
    if told["complaints"]:
        parts.append("\n".join(one[:300] for one in told["complaints"][:5]))
    return "\n\n".join([*parts, table(outcome.judgement)])


def stairs(told: dict[str, Any]) -> str:
    """Each step of a run; for steps to failure, the knee and who gave up."""
    head = ("users", "joined", "frames/s", "MB/s", "p50 ms", "p99 ms", "max ms", "service CPU",
            "loader CPU", "loader lag")  # fmt: skip
    lines = ["".join(f"{one:>12}" for one in head)]
    for step in told["steps"]:
        row = (
            f"{step['users']}", f"{step['joined']:.0%}", f"{step['frames_per_second']:,.0f}",
            f"{step['bytes_per_second'] / 1e6:.1f}",
            *(f"{step[cut]:,.1f}" if cut in step else "-" for cut in ("p50", "p99", "max")),
            f"{step.get('service_cpu', 0):.0%}", f"{step['loader_cpu']:.0%}",
            f"{step['loader_lag_ms']:.0f} ms",
        )  # fmt: skip
        lines.append("".join(f"{one:>12}" for one in row))
    if len(told["steps"]) > 1:
        most = "" if told["gave_up"] != NOBODY else "at least "
        lines.append(f"the knee: {most}{told['knee']} users kept the objective; "
                     f"who gave up first: {told['gave_up']}")  # fmt: skip
    return "\n".join(lines)


def summary(told: dict[str, Any]) -> str:
    """What was seen, beyond what was asked for."""
    lines = [f"{'ms':24}" + "".join(f"{cut:>9}" for cut in TIMED) + f"{'samples':>13}"]
    for name, cuts in told["percentiles"].items():
        row = "".join(f"{cuts[cut]:>9,.1f}" for cut in TIMED)
        lines.append(f"{name:24}{row}{int(cuts['count']):>13,}")
    pressure = told["pressure"]
    lines += [
        "",
        f"{told['machine']}; {pressure['busy']:.0%} of a core busy, "
        f"{pressure['others']:.0%} with what is not ours",
        "",
    ]
    for name, number in told["service"].items():
        lines.append(f"{'the service: ' + name:38}{number:>14,.0f}")
    for name, number in sorted(told["counts"].items()):
        if not name.startswith("worst loader"):
            lines.append(f"{name:38}{number:>14,}")
    return "\n".join(lines)
