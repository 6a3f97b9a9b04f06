"""``livestate tail`` and ``livestate snapshot``: the stream and the table, in a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import random
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import httpx

from api import demo_key
from api.settings import PREFIX
from livestate.client import Dashboard, Parser, ServerEvent

STREAM: Final = "/api/v1/live/calls"
_SILENCE_SECONDS: Final = 9.0  # heartbeats come every 4 s
_COLOURS: Final = {"trying": "white", "ringing": "yellow", "early": "yellow", "answered": "green",
                   "held": "cyan"}  # fmt: skip


def _options(command: Any) -> Any:
    for option in (
        click.option("--trunk", multiple=True, help="Only this trunk; may be repeated."),
        click.option("--state", multiple=True, help="Only this state; may be repeated."),
        click.option("--company", help="Only this company (for who may see all)."),
        click.option("--token", envvar=f"{PREFIX}TOKEN",
                     help="A login; default: one of the demo key, as noc."),
        click.option("--url", default="http://127.0.0.1:8080", show_default=True,
                     help="Where the service is."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@_options
@click.option("--raw", is_flag=True, help="The bytes as they come.")
def tail(url: str, token: str | None, company: str | None, state: tuple[str, ...],
         trunk: tuple[str, ...], raw: bool) -> None:  # fmt: skip
    """Follow the stream: a line for each call that changes.

    Folds what it gets like the page, checks the digest, and reconnects where it was.
    """
    query = _query(company, state, trunk)
    try:
        asyncio.run(_follow(url, token or _own_token(), query, raw))
    except KeyboardInterrupt:
        pass


@click.command()
@_options
@click.option("--json", "as_json", is_flag=True, help="The answer as it is.")
def snapshot(url: str, token: str | None, company: str | None, state: tuple[str, ...],
             trunk: tuple[str, ...], as_json: bool) -> None:  # fmt: skip
    """Print the calls that are live now."""
    try:
        answer = httpx.get(f"{url}{STREAM}/snapshot", params=_query(company, state, trunk),
                           headers=_login(token or _own_token()), timeout=30)  # fmt: skip
    except httpx.HTTPError as error:
        raise click.ClickException(f"{url}: {error}") from error
    if answer.status_code != 200:
        raise click.ClickException(_problem(answer.status_code, answer.content))
    if as_json:
        click.echo(answer.content)
        return
    told = answer.json()
    for record in sorted(told["calls"].values(), key=lambda one: one.get("setup_at", 0)):
        click.echo(_row(record, told["as_of"]))
    click.echo(f"{len(told['calls'])} live calls, version {told['version']}")


async def _follow(url: str, token: str, query: httpx.QueryParams, raw: bool) -> None:
    dashboard = Dashboard()
    async with httpx.AsyncClient(timeout=httpx.Timeout(10, read=_SILENCE_SECONDS)) as client:
        while True:
            headers = _login(token)
            if dashboard.last_id and not dashboard.diverged:
                headers["Last-Event-ID"] = dashboard.last_id
            else:
                dashboard = Dashboard()
            try:
                async with client.stream("GET", url + STREAM, params=query, headers=headers) as got:
                    if got.status_code in (400, 401, 403, 404, 406):
                        raise click.ClickException(_problem(got.status_code, await got.aread()))
                    got.raise_for_status()
                    parser = Parser()
                    async for piece in got.aiter_bytes():
                        if raw:
                            click.echo(piece, nl=False)
                        for event in parser.feed(piece):
                            _show(event, dashboard, quiet=raw)
                        if dashboard.diverged:
                            _note("the digest differs: asking for everything anew")
                            break
            except httpx.HTTPError as error:
                _note(f"{type(error).__name__} {error}".strip())
            await asyncio.sleep(random.uniform(0.5, 2))


def _show(event: ServerEvent, dashboard: Dashboard, *, quiet: bool) -> None:
    before = dict(dashboard.calls) if event.name == "diff" else {}
    was = dashboard.source
    data = dashboard.fold(event)
    if quiet:
        return
    if event.name == "diff":
        for key, change in data["calls"].items():
            if change is not None:
                click.echo(_row(dashboard.calls[key], data["as_of"]))
            elif key in before:
                over = data.get("ended", {}).get(key, {"outcome": "left"})
                click.echo(_row(before[key] | over | {"state": over["outcome"]}, data["as_of"]))
    elif event.name == "snapshot" and data["part"] == data["parts"]:
        _note(f"{len(dashboard.calls)} live calls")
    elif event.name == "heartbeat" and data["source"] != was:
        _note(f"the source is {data['source']}")
    elif event.name == "goodbye":
        _note(f"goodbye: {data['reason']}")


def _row(record: dict[str, Any], as_of: int) -> str:
    at = datetime.fromtimestamp(as_of / 1000).strftime("%H:%M:%S")
    state = record["state"]
    age = max(0, as_of - record.get("setup_at", as_of)) // 1000
    parties = f"{_plain(record.get('from'))} → {_plain(record.get('to'))}"
    return (
        f"{at} {click.style(f'{state:<14}', fg=_COLOURS.get(state, 'red'))} {parties:<36} "
        f"{_plain(record.get('company_id')):<6} {_plain(record.get('trunk')):<10} {age:>5} s  "
        f"{_plain(record['node'])}"
    )


def _plain(text: object) -> str:
    """Text of a stranger, for a terminal: no escape sequences."""
    return "".join(sign if sign.isprintable() else "�" for sign in str(text or "–"))


def _note(text: str) -> None:
    click.secho(f"-- {text}", fg="blue", err=True)


def _login(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _own_token() -> str:
    directory = Path(os.environ.get(f"{PREFIX}DEMO_KEYS", demo_key.DIRECTORY))
    if not (directory / "demo-key.pem").exists():
        raise click.ClickException("no --token, and no demo key here; see `livestate token`")
    return demo_key.mint(directory, "noc")


def _query(
    company: str | None, state: tuple[str, ...], trunk: tuple[str, ...]
) -> httpx.QueryParams:
    query = httpx.QueryParams({"state": state, "trunk": trunk})
    return query.set("company_id", company) if company else query


def _problem(status: int, body: bytes) -> str:
    try:
        told = json.loads(body)
        return f"{status} {told['title']}: {told['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"the service answered {status}"
