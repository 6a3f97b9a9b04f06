"""``livestate serve``"""

from __future__ import annotations

import logging

import click
import uvloop

from api.cli.environment import settings as read_settings
from api.settings import table


class WithSettings(click.Command):
    """A command whose help ends with all settings."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Environment"):
            rows = []
            for line in table().splitlines()[2:]:
                name, default, doc = (cell.strip(" `") for cell in line.strip("|").split("|", 2))
                rows.append((name, doc.replace("`", "") + (f" [{default}]" if default else "")))
            formatter.write_dl(rows, col_max=34)


@click.command(cls=WithSettings)
def serve() -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from api.compose import run  # the whole service: not wanted for `livestate --help`

    found = read_settings()
    logging.basicConfig(
        level=found.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        uvloop.run(run(found))
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error}") from error
