"""``livestate token``"""

from __future__ import annotations

import re
from pathlib import Path

import click

from api import demo_key
from livestate.access import ROLES


class Duration(click.ParamType[float]):
    """90, 90s, 15m, 12h or 7d, as seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        if not found:
            self.fail(f"{value!r} is not a duration such as 15m or 12h", param, context)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


@click.command()
@click.option("--role", type=click.Choice(sorted(ROLES)), default="noc", show_default=True)
@click.option("--company", help="The company of a `user`.")
@click.option("--subject", default="demo", show_default=True, help="Who it is for.")
@click.option("--ttl", type=Duration(), default="12h", show_default=True, help="90s, 15m, 12h, 7d.")
@click.option("--directory", type=click.Path(path_type=Path), default=demo_key.DIRECTORY,
              show_default=True, help="Where the demo key is, or will be made.")  # fmt: skip
@click.option("--link", metavar="URL", help="Print a login link to this service, not the token.")
def token(
    role: str, company: str | None, subject: str, ttl: float, directory: Path, link: str | None
) -> None:
    """Mint a login with the demo key.

    \b
    curl -N -H "Authorization: Bearer $(livestate token)" http://127.0.0.1:8080/api/v1/live/calls
    livestate token --role user --company 101 --link http://127.0.0.1:8080
    """
    if role == "user" and not company:
        raise click.UsageError("a user needs --company")
    minted = demo_key.mint(directory, role, company_id=company, subject=subject, seconds=ttl)
    click.echo(f"{link.rstrip('/')}/login#{minted}" if link else minted)
