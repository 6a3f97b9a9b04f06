"""``livestate tail``: follow the stream in a terminal."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import click
import httpx

from api.cli.live_calls import options, query, row
from api.cli.terminal import login_token, plain
from livestate.client import Change, LiveCalls, Refused, Update
from livestate.client.paths import STREAM_PATH
from livestate.process.masking import masked


@click.command()
@options
@click.option("--raw", is_flag=True, help="Print the bytes unchanged.")
def tail(
    url: str,
    token: str | None,
    token_file: Path | None,
    company: str | None,
    state: tuple[str, ...],
    trunk: tuple[str, ...],
    raw: bool,
) -> None:
    """Follow the stream: one line per changed call.

    It folds the stream as the page does, checks the digest, and resumes after a disconnect.
    """
    try:
        asyncio.run(_follow(url, login_token(token, token_file), query(company, state, trunk), raw))
    except KeyboardInterrupt:
        pass


async def _follow(url: str, token: str, filters: httpx.QueryParams, raw: bool) -> None:
    on_bytes = partial(click.echo, nl=False) if raw else None
    try:
        async with LiveCalls(
            url + STREAM_PATH, token, query=filters.multi_items(), on_bytes=on_bytes
        ) as live:
            async for update in live:
                _show(update, live, quiet=raw)
    except Refused as refused:
        raise click.ClickException(plain(str(refused))) from refused


def _show(update: Update, live: LiveCalls, *, quiet: bool) -> None:
    if update.name == "state":
        _note(
            {
                "disconnected": live.problem,
                "stale": f"the source is stale: {live.stale_reason}",
                "resyncing": "the digest differs: requesting a new snapshot",
                "live": "the source is live",
            }.get(update.state)
            or update.state
        )
    elif quiet:
        return
    elif update.name == "goodbye":
        _note(f"goodbye: {live.goodbye}")
    elif update.change is None:
        return
    elif update.name == "snapshot":
        _note(f"{len(live.calls)} live calls")
    else:
        _print(update.change, live, update.data["as_of"])


def _print(change: Change, live: LiveCalls, as_of: int) -> None:
    for key, fields in change.calls.items():
        if fields is not None:
            click.echo(row(live.calls[key], as_of))
        elif key in change.removed:
            over = change.ended.get(key, {"outcome": "left"})
            click.echo(row(change.removed[key] | over | {"state": over["outcome"]}, as_of))


def _note(text: str) -> None:
    click.secho(f"-- {plain(masked(text))}", fg="blue", err=True)
