"""``livestate healthcheck``: for container engines, which run a command to learn of health."""

from __future__ import annotations

import http.client
import sys

import click

from api.cli.environment import settings

_ANY: dict[str, str] = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "": "127.0.0.1"}  # noqa: S104


@click.command()
@click.option("--ready", is_flag=True, help="Ask whether it wants traffic, too.")
@click.option("--seconds", type=float, default=2.0, show_default=True, help="To wait at most.")
def healthcheck(ready: bool, seconds: float) -> None:
    """Ask the service on this machine whether it is alive: exit code 0 if so, else 1.

    The address is LIVESTATE_ADMIN_BIND.
    """
    host, _, port = settings().admin_bind.rpartition(":")
    path = "/readyz" if ready else "/healthz"
    connection = http.client.HTTPConnection(
        _ANY.get(host, host.strip("[]")), int(port), timeout=seconds
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(4096).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        click.echo(f"{path} does not answer: {error}", err=True)
        sys.exit(1)
    finally:
        connection.close()
    click.echo(text, err=answer.status != 200)
    sys.exit(answer.status != 200)
