"""How cost grows, as one picture: with the calls in the table, and with the clients."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.stages.results import Result

# Stage, what one piece of it is, and a mark that tells it from the others without colours.
OVER_CALLS: Final = (
    ("fold", "fold: an event", "o"),
    ("since", "since: a diff of 20 calls", "s"),
    ("encode", "encode: a diff of 20 calls", "^"),
    ("snapshot", "snapshot: a call", "D"),
    ("project", "project: a call, until Valkey has it", "v"),
)


def draw(results: list[Result], picture: Path) -> None:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for stage, label, mark in OVER_CALLS:
        some = [one for one in results if one.stage == stage]
        left.plot(
            [one.extra["calls"] for one in some],
            [one.best for one in some],
            marker=mark,
            label=label,
        )
    scaled(left, "live calls in the table", "µs each, best round")
    some = [one for one in results if one.stage == "fan_out"]
    clients = [one.extra["clients"] for one in some]
    right.plot(
        clients,
        [one.best for one in some],
        marker="o",
        label="time until the last client has it ÷ clients, best round",
    )
    right.plot(
        clients, [one.extra["cpu_us"] for one in some], marker="s", label="CPU of the service"
    )
    scaled(right, "clients (real sockets)", "µs a delivery")
    figure.savefig(picture, dpi=80, metadata={"Software": None})


def scaled(axes: Axes, across: str, up: str) -> None:
    """Both axes logarithmic: a level line is a cost that does not grow."""
    axes.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
    axes.set_ylim(1, axes.get_ylim()[1] * 6)  # and room for the names
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")
    axes.grid(visible=True, which="major", alpha=0.6)
    axes.grid(visible=True, which="minor", alpha=0.15)
    axes.legend(fontsize="small", loc="upper right")
