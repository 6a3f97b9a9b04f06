"""An option of a command whose variable may also name a file: ``…_URL_FILE`` beside ``…_URL``."""

from __future__ import annotations

import os

import click

from api.environment import read


class SecretOption(click.Option):
    """For values with passwords: systemd, Compose and Kubernetes hand these over as files. Works
    with ``auto_envvar_prefix`` only."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        name = f"{ctx.auto_envvar_prefix}_{(self.name or '').upper()}"
        try:
            text, _ = read(name, os.environ)
        except ValueError as error:
            raise click.UsageError(str(error), ctx) from error
        return text or None
