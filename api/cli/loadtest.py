"""``livestate loadtest``: runs the load test from a checkout, with its own servers or against a
service that runs already."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from api.auth import demo_key
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
@click.option(
    "--url",
    "urls",
    multiple=True,
    metavar="URL",
    help="A service that runs already, or one edge of it; give one --url for each edge.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    default=demo_key.DIRECTORY,
    show_default=True,
    help="With --url: directory of the demo key, which signs the logins of the users.",
)
@click.option(
    "--tokens",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With --url: file of logins instead, one `TOKEN` or `TOKEN COMPANY` a line.",
)
@click.option(
    "--admin-url",
    "admin_urls",
    multiple=True,
    metavar="URL",
    help="With --url: admin address of a process of the service, to judge its CPU.",
)
@click.option(
    "--nats-url",
    metavar="URL",
    help="With --url: the service's NATS, to publish calls there; without, it is only watched.",
)
@click.option(
    "--nats-creds",
    type=click.Path(dir_okay=False, exists=True),
    help="With --nats-url: credentials file of the user that publishes.",
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
    urls: tuple[str, ...],
    keys: Path,
    tokens: Path | None,
    admin_urls: tuple[str, ...],
    nats_url: str | None,
    nats_creds: str | None,
    write: bool,
) -> None:
    """Measure the service with Locust, and judge the run.

    Starts real NATS, Redis and the service, publishes calls on a fixed schedule, lets dashboards
    watch, fold and check every byte, and compares all of them at the end. With --url the service
    is one that runs already: use one that is there for tests, because --nats-url fills it with
    calls. Exits with 0 when every objective is kept, 1 when one is broken, 3 when the loader itself
    distorted the run.
    """
    if urls and (edges or write):
        raise click.UsageError("--edges and --write are for servers that the load test starts")
    if not urls and (tokens or admin_urls or nats_url or nats_creds):
        raise click.UsageError(
            "--tokens, --admin-url and --nats-… are for a service given by --url"
        )
    if find_spec("loadtest") is None or find_spec("locust") is None:
        raise click.ClickException("load tests run from a checkout: make loadtest")
    run, given, measuring, profiles, record, report, verdict = (
        import_module(f"loadtest.{n}")
        for n in ("run", "given", "measuring", "profiles", "record", "report", "verdict")
    )
    wanted = profiles.profile(profile).scaled(users, seconds, rate)
    directory = out / profile

    def attempted() -> Any:
        if not urls:
            return run.run(wanted, directory, edges=edges, say=click.echo)
        bare = [tuple(url.rstrip("/") for url in some) for some in (urls, admin_urls)]
        there = given.Given(bare[0], keys.resolve(), tokens, bare[1], nats_url, nats_creds)
        return given.run(wanted, directory, there, say=click.echo)

    for attempt in range(1, attempts + 1):
        try:
            outcome = asyncio.run(attempted())
        except (LivestateError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        except asyncio.CancelledError:
            raise click.ClickException("ended before there was a verdict") from None
        click.echo(report.report(outcome))
        click.echo(f"\nreports in {directory}/: {', '.join(measuring.REPORTS)}")
        if len(outcome.result["steps"]) > 1:
            record.plot(outcome.result, directory / "latency.png")
        if write:
            instead = (("users", users), ("seconds", seconds), ("rate", rate), ("edges", edges))
            record.write(outcome, "".join(f" --{n} {one:g}" for n, one in instead if one))
        code: int = verdict.EXIT_CODES[outcome.judgement.verdict]
        if code != INVALID or attempt == attempts:
            sys.exit(code)
        click.echo("\nthe run was INVALID; repeating\n")
