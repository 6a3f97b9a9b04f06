"""``livestate snapshot``: the live calls, once."""

from __future__ import annotations

from pathlib import Path

import click
import httpx

from api.cli.live_calls import login, options, problem, query, row
from api.cli.terminal import login_token, plain
from livestate.client.paths import SNAPSHOT_PATH
from livestate.process.masking import masked


@click.command()
@options
@click.option("--json", "as_json", is_flag=True, help="Print the JSON response.")
def snapshot(
    url: str,
    token: str | None,
    token_file: Path | None,
    company: str | None,
    state: tuple[str, ...],
    trunk: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print the live calls."""
    try:
        response = httpx.get(
            url + SNAPSHOT_PATH,
            params=query(company, state, trunk),
            headers=login(login_token(token, token_file)),
            timeout=30,
        )
    except httpx.HTTPError as error:
        raise click.ClickException(plain(masked(f"{url}: {error}"))) from error
    if response.status_code != 200:
        raise click.ClickException(problem(response.status_code, response.content))
    if as_json:
        click.echo(response.content)
        return
    table = response.json()
    for record in sorted(table["calls"].values(), key=lambda one: one.get("setup_at", 0)):
        click.echo(row(record, table["as_of"]))
    click.echo(f"{len(table['calls'])} live calls, version {table['version']}")
