"""``livestate conformance``: which promise breaks at a URL, for authors of servers and proxies."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any, Final

import click

from api.cli.terminal import login_token, plain
from api.settings import PREFIX
from livestate.conformance.checks import judge
from livestate.conformance.evidence import collect
from livestate.conformance.result import BROKEN, CONFORMS, exit_code, junit, table
from livestate.process.masking import masked

NOT_SEEN: Final = (
    "Order, ghosts, memory, Redis, calm and counts (O, G, M, R, K, C) cannot be seen from outside."
)


@click.command()
@click.argument("url")
@click.option(
    "--token",
    envvar=f"{PREFIX}TOKEN",
    show_envvar=True,
    help="Token; prefer the variable, because `ps` shows arguments. "
    "Default: a token of the demo key, as noc.",
)
@click.option(
    "--token-file",
    envvar=f"{PREFIX}TOKEN_FILE",
    show_envvar=True,
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="File with a token in its first line.",
)
@click.option(
    "--second-token",
    envvar=f"{PREFIX}SECOND_TOKEN",
    show_envvar=True,
    help="Token of one company: checks that it sees its own calls only.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(5, 3600),
    default=20,
    show_default=True,
    help="How long to watch. Calls must change meanwhile; heartbeats come every 4 s.",
)
@click.option(
    "--junit",
    "junit_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the results as JUnit XML.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificates to trust beside the system's.",
)
def conformance(
    url: str,
    token: str | None,
    token_file: Path | None,
    second_token: str | None,
    seconds: float,
    junit_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Check the service, and every proxy before it, at URL.

    Opens streams as a dashboard does, and reports for each promise whether it is kept. Exits with 0
    if all are kept, 1 if one is broken, 3 if something could not be measured.
    """
    first = login_token(token, token_file)
    results = judge(asyncio.run(collect(url, first, second_token, seconds, _trust(ca_file))))
    for line in table(results):
        click.echo(plain(masked(line)))
    if junit_file is not None:
        junit_file.write_text(masked(junit(results, url)))
    code = exit_code(results)
    said = {CONFORMS: "conforms", BROKEN: "does not conform"}.get(code, "could not be measured")
    click.echo(f"{plain(masked(url))} {said}. {NOT_SEEN}")
    sys.exit(code)


def _trust(ca_file: Path | None) -> Any:
    if ca_file is None:
        return True
    context = ssl.create_default_context()
    context.load_verify_locations(ca_file)
    return context
