"""``livestate token``"""

from __future__ import annotations

import re
from pathlib import Path

import click

from api.auth import demo_key
from livestate.state.access import ROLES, SEES_ALL


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
@click.option("--company", help="Company of a `user`.")
@click.option("--subject", default="demo", show_default=True, help="Value of `sub`.")
@click.option("--ttl", type=Duration(), default="12h", show_default=True, help="90s, 15m, 12h, 7d.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=demo_key.DIRECTORY,
    show_default=True,
    help="Directory of the demo key; created if missing.",
)
@click.option("--link", metavar="URL", help="Print a login link to this service, not the token.")
def token(
    role: str, company: str | None, subject: str, ttl: float, directory: Path, link: str | None
) -> None:
    """Create a token with the demo key.

    \b
    curl -N -H "Authorization: Bearer $(livestate token)" http://127.0.0.1:8080/api/v1/live/calls
    livestate token --role user --company 101 --link http://127.0.0.1:8080
    """
    if role not in SEES_ALL and not company:
        raise click.UsageError("a user needs --company")
    try:
        demo_key.jwks(directory)  # for LIVESTATE_JWT_JWKS
        minted = demo_key.mint(directory, role, company_id=company, subject=subject, seconds=ttl)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{link.rstrip('/')}/login#{minted}" if link else minted)
