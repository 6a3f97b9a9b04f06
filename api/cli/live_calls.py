"""What ``livestate tail`` and ``livestate snapshot`` share: options, filters, a line per call."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import httpx

from api.cli.terminal import plain
from api.http.listed import written
from api.settings import PREFIX

_COLOURS: Final = {
    "trying": "white",
    "ringing": "yellow",
    "early": "yellow",
    "answered": "green",
    "held": "cyan",
}


def options(command: Any) -> Any:
    """The options of a command that reads live calls: address, token and filters."""
    for option in (
        click.option("--trunk", multiple=True, help="Only this trunk; may be repeated."),
        click.option("--state", multiple=True, help="Only this state; may be repeated."),
        click.option("--company", help="Only this company (for roles that see all calls)."),
        click.option(
            "--token-file",
            envvar=f"{PREFIX}TOKEN_FILE",
            show_envvar=True,
            type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
            help="File with a token in its first line.",
        ),
        click.option(
            "--token",
            envvar=f"{PREFIX}TOKEN",
            show_envvar=True,
            help="Token; prefer the variable, because `ps` shows arguments. "
            "Default: a token of the demo key, as noc.",
        ),
        click.option(
            "--url",
            default="http://127.0.0.1:8080",
            show_default=True,
            help="Address of the service.",
        ),
    ):
        command = option(command)
    return command


def login(token: str) -> dict[str, str]:
    """The header that logs in."""
    return {"Authorization": f"Bearer {token}"}


def query(company: str | None, state: tuple[str, ...], trunk: tuple[str, ...]) -> httpx.QueryParams:
    """The filters as a query."""
    query = httpx.QueryParams({"state": state, "trunk": [written(name) for name in trunk]})
    return query.set("company_id", company) if company else query


def problem(status: int, body: bytes) -> str:
    """A refusal as text; the body is problem details (RFC 9457) or anything."""
    try:
        response = json.loads(body)
        return plain(f"{status} {response['title']}: {response['detail']}")
    except (ValueError, KeyError, TypeError):
        return f"the service responseed {status}"


def row(record: dict[str, Any], as_of: int) -> str:
    """One line for a call. ``as_of``: ms since the Unix epoch."""
    at = datetime.fromtimestamp(as_of / 1000).strftime("%H:%M:%S")
    state = record["state"]
    age = max(0, as_of - record.get("setup_at", as_of)) // 1000
    parties = f"{_text(record.get('from'))} → {_text(record.get('to'))}"
    return (
        f"{at} {click.style(f'{state:<14}', fg=_COLOURS.get(state, 'red'))} {parties:<36} "
        f"{_text(record.get('company_id')):<6} {_text(record.get('trunk')):<10} {age:>5} s  "
        f"{_text(record['node'])}{_quality(record)}"
    )


def _quality(record: dict[str, Any]) -> str:
    """What was measured of the audio; nothing where nothing was."""
    figures = (
        ("mos", "MOS {:.1f}"),
        ("jitter_ms", "jitter {:.0f} ms"),
        ("loss_pct", "loss {:.1f} %"),
    )
    return "".join(f"  {text.format(record[name])}" for name, text in figures if name in record)


def _text(text: object) -> str:
    """Text that is safe to print."""
    return plain(text or "–")
