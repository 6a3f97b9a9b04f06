"""Formats a run as text, for a terminal and for ``docs/loadtest.md``."""

from __future__ import annotations

from typing import Any

from loadtest.outcome import Outcome
from loadtest.verdict import NOBODY, TIMED, Judgement


def table(judgement: Judgement) -> str:
    """The objectives with limit and result, reasons for INVALID, and the verdict."""
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
    """The complete report of a run."""
    result = outcome.result
    parts = [summary(result)]
    if result.get("not judged"):
        parts.append(
            "\n".join(f"not judged: {n}: {why}" for n, why in result["not judged"].items())
        )
    if result.get("steps"):
        parts.append(stairs(result))
    if result["complaints"]:
        parts.append("\n".join(one[:300] for one in result["complaints"][:5]))
    return "\n\n".join([*parts, table(outcome.judgement)])


def stairs(result: dict[str, Any]) -> str:
    """One line per step; after steps to failure, the knee and what reached its limit first."""
    head = (
        "users",
        "joined",
        "frames/s",
        "MB/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "service CPU",
        "loader CPU",
        "loader lag",
    )
    lines = ["".join(f"{one:>12}" for one in head)]
    for step in result["steps"]:
        row = (
            f"{step['users']}", f"{step['joined']:.0%}", f"{step['frames_per_second']:,.0f}",
            f"{step['bytes_per_second'] / 1e6:.1f}",
            *(f"{step[cut]:,.1f}" if cut in step else "-" for cut in ("p50", "p99", "max")),
            f"{step['service_cpu']:.0%}" if "service_cpu" in step else "-",
            f"{step['loader_cpu']:.0%}",
            f"{step['loader_lag_ms']:.0f} ms",
        )  # fmt: skip
        lines.append("".join(f"{one:>12}" for one in row))
    if len(result["steps"]) > 1:
        most = "" if result["limited_by"] != NOBODY else "at least "
        lines.append(
            f"the knee: {most}{result['knee']} users met the objective; "
            f"reached its limit first: {result['limited_by']}"
        )
    return "\n".join(lines)


def summary(result: dict[str, Any]) -> str:
    """Latencies, machine load and counts."""
    lines = [f"{'ms':24}" + "".join(f"{cut:>9}" for cut in TIMED) + f"{'samples':>13}"]
    for name, cuts in result["percentiles"].items():
        row = "".join(f"{cuts[cut]:>9,.1f}" for cut in TIMED)
        lines.append(f"{name:24}{row}{int(cuts['count']):>13,}")
    pressure = result["pressure"]
    lines += [
        "",
        f"{result['machine']}; {pressure['busy']:.0%} of a core busy, "
        f"{pressure['others']:.0%} by other processes",
        "",
    ]
    for name, number in result["service"].items():
        lines.append(f"{'the service: ' + name:38}{number:>14,.0f}")
    for name, number in sorted(result["counts"].items()):
        if not name.startswith("worst loader"):
            lines.append(f"{name:38}{number:>14,}")
    return "\n".join(lines)
