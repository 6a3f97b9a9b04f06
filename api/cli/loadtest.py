"""``livestate loadtest``: from a checkout, with everything of its own."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from livestate.errors import LivestateError

PROFILES = ("ci", "pilot", "capacity", "storm", "soak")
INVALID = 3


@click.command()
@click.option("--profile", type=click.Choice(PROFILES), default="ci", show_default=True,
              help="What load, and what it must reach: loadtest/slo.toml.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              default=Path(".loadtest"), show_default=True,
              help="Where reports go, in a directory named after the profile.")  # fmt: skip
@click.option("--users", type=click.IntRange(1), help="Instead of the profile's.")
@click.option("--seconds", type=click.FloatRange(1), help="Instead of the profile's.")
@click.option("--rate", type=click.FloatRange(1), help="Events a second, instead of the profile's.")
@click.option("--attempts", type=click.IntRange(1, 5), default=1, show_default=True,
              help="Again after an INVALID run, so often; never after a FAILED one.")  # fmt: skip
@click.option("--write", is_flag=True, help="What was measured also into docs/loadtest.md.")
def loadtest(
    profile: str, out: Path, users: int | None, seconds: float | None, rate: float | None,
    attempts: int, write: bool,
) -> None:  # fmt: skip
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
            outcome = asyncio.run(run.run(wanted, directory, say=click.echo))
        except LivestateError as error:
            raise click.ClickException(str(error)) from error
        except asyncio.CancelledError:
            raise click.ClickException("told to end before there was a verdict") from None
        click.echo(report.report(outcome))
        click.echo(f"\nreports in {directory}/: {', '.join(run.REPORTS)}")
        if len(outcome.told["steps"]) > 1:
            record.plot(outcome.told, directory / "latency.png")
        if write:
            instead = (("users", users), ("seconds", seconds), ("rate", rate))
            record.write(outcome, "".join(f" --{n} {one:g}" for n, one in instead if one))
        code: int = verdict.EXIT_CODES[outcome.judgement.verdict]
        if code != INVALID or attempt == attempts:
            sys.exit(code)
        click.echo("\nan INVALID run says nothing; once more\n")
