"""``livestate loadtest``: runs the load test from a checkout, with its own servers."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from livestate.contract.errors import LivestateError

PROFILES = ("ci", "pilot", "capacity", "storm", "soak")
INVALID = 3


@click.command()
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="ci",
    show_default=True,
    help="Load and objectives: see loadtest/slo.toml.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".loadtest"),
    show_default=True,
    help="Directory of reports, with one folder per profile.",
)
@click.option("--users", type=click.IntRange(1), help="Instead of the profile's.")
@click.option("--seconds", type=click.FloatRange(1), help="Instead of the profile's.")
@click.option("--rate", type=click.FloatRange(1), help="Events a second, instead of the profile's.")
@click.option(
    "--attempts",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="Runs at most, if they are INVALID; a FAILED run is not repeated.",
)
@click.option(
    "--edges",
    type=click.IntRange(0, 8),
    default=0,
    show_default=True,
    help="Serve from so many edges beside one engine (docs/scale.md); 0 for one process.",
)
@click.option("--write", is_flag=True, help="Also write the result into docs/loadtest.md.")
def loadtest(
    profile: str,
    out: Path,
    users: int | None,
    seconds: float | None,
    rate: float | None,
    attempts: int,
    edges: int,
    write: bool,
) -> None:
    """Measure the service with Locust, and judge the run.

    Starts real NATS, Redis and the service, publishes calls on a fixed schedule, lets dashboards
    watch, fold and check every byte, and compares all of them at the end. Exits with 0 when every
    objective is kept, 1 when one is broken, 3 when the loader itself distorted the run.
    """
    if find_spec("loadtest") is None or find_spec("locust") is None:
        raise click.ClickException("load tests run from a checkout: make loadtest")
    run, profiles, record, report, verdict = (
        import_module(f"loadtest.{n}") for n in ("run", "profiles", "record", "report", "verdict")
    )
    wanted = profiles.profile(profile).scaled(users, seconds, rate)
    directory = out / profile
    for attempt in range(1, attempts + 1):
        try:
            outcome = asyncio.run(run.run(wanted, directory, edges=edges, say=click.echo))
        except LivestateError as error:
            raise click.ClickException(str(error)) from error
        except asyncio.CancelledError:
            raise click.ClickException("ended before there was a verdict") from None
        click.echo(report.report(outcome))
        click.echo(f"\nreports in {directory}/: {', '.join(run.REPORTS)}")
        if len(outcome.result["steps"]) > 1:
            record.plot(outcome.result, directory / "latency.png")
        if write:
            instead = (("users", users), ("seconds", seconds), ("rate", rate), ("edges", edges))
            record.write(outcome, "".join(f" --{n} {one:g}" for n, one in instead if one))
        code: int = verdict.EXIT_CODES[outcome.judgement.verdict]
        if code != INVALID or attempt == attempts:
            sys.exit(code)
        click.echo("\nthe run was INVALID; repeating\n")
