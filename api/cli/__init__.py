"""The ``livestate`` command: a lazy group with one module per command."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from livestate.process import build

# Each is a function in the module of the same name.
COMMANDS: Final = (
    "serve", "bridge", "demo", "replay", "simulate", "tail", "snapshot", "token", "schema",
    "doctor", "streams", "conformance", "loadtest", "healthcheck",
)  # fmt: skip


class Commands(click.Group):
    """Imports a command when it is used: a restarting service loads only its own modules, because
    pages wait for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"api.cli.{cmd_name}"), cmd_name)
        return command


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(
    package_name="livestate", message=f"%(prog)s, version %(version)s ({build.kind()})"
)
def main() -> None:
    """Live calls from NATS to a page that you can trust.

    Start with `livestate demo`: it brings its own NATS, Valkey and calls.
    Settings are environment variables; see `livestate serve --help`.
    """
