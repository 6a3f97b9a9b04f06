"""``livestate serve``"""

from __future__ import annotations

import gc

import click
import uvloop

from api.cli import log_format
from api.cli.environment import settings as read_settings
from api.settings import table
from livestate.process import logs


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
@click.option(
    "--role",
    type=click.Choice(["all", "engine", "edge"]),
    help="What this process does, see docs/scale.md.  [default: LIVESTATE_ROLE, or all]",
)
def serve(role: str | None) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    gc.disable()  # while modules are imported, of which nothing is garbage; 40 ms of CPU
    from api import edge, server  # the whole service: not wanted for `livestate --help`
    from api.auth.startup_check import StartRefused

    found = read_settings()
    if role is not None:
        found = found.model_copy(update={"role": role})
    logs.set_up(found.log_level, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    if found.log_format == "json":
        log_format.use_json()
    try:
        uvloop.run((edge if found.role == "edge" else server).run(found))
    except StartRefused as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error}") from error
