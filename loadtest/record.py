"""Writes a run as a picture and as a section of ``docs/loadtest.md``."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Final

from loadtest import report
from loadtest.outcome import Outcome

DOCS: Final = Path(__file__).parent.parent / "docs"
PAGE: Final = DOCS / "loadtest.md"
PICTURE: Final = "loadtest-latency.png"
_INCHES: Final = (8, 4.5)


def plot(result: dict[str, Any], path: Path) -> None:
    """Latency against clients, one line per percentile, with the objective and the knee."""
    import matplotlib

    matplotlib.use("Agg")  # no window
    from matplotlib import pyplot

    last = {step["users"]: step for step in result["steps"] if "p99" in step}  # of the same number
    steps = list(last.values())
    figure, axes = pyplot.subplots(figsize=_INCHES, layout="constrained")
    for cut, style in (("p50", "o-"), ("p90", "s-"), ("p99", "^-"), ("max", "x:")):
        axes.plot([one["users"] for one in steps], [one[cut] for one in steps], style, label=cut)
    axes.axhline(result["limit"], color="grey", linestyle="--", linewidth=1)
    axes.annotate(
        f"objective: p99 ≤ {result['limit']:g} ms",
        (0.01, result["limit"]),
        xycoords=("axes fraction", "data"),
        va="bottom",
        color="grey",
    )
    if result["knee"]:
        axes.axvline(result["knee"], color="grey", linestyle=":", linewidth=1)
    axes.set(
        yscale="log",
        xlabel="dashboards that see every call",
        ylabel="publish → receive, ms",
        title=f"{result['rate']:g} events/s; knee at {result['knee']:g}\n"
        f"reached its limit first: {result['limited_by']}",
    )
    axes.title.set_fontsize(10)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def write(outcome: Outcome, options: str) -> None:
    """Rewrite this profile's section of the page, and the picture if the run has steps."""
    result = outcome.result
    command = f"$ livestate loadtest --profile {result['profile']}{options}"
    section(result["profile"], [command, "", report.report(outcome)])
    if len(result["steps"]) > 1:
        plot(result, DOCS / PICTURE)


def section(name: str, lines: list[str]) -> None:
    """Replace the text between the markers of ``name``."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = "\n".join([begin, time.strftime("%Y-%m-%d:"), "```", *lines, "```", end])
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: text, PAGE.read_text()))
