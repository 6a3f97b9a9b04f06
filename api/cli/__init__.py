"""The ``livestate`` command. One module a command; this one only gathers them."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

COMMANDS: Final = {
    "serve": "serve", "bridge": "bridge", "demo": "demo", "replay": "feed", "simulate": "feed",
    "tail": "look", "snapshot": "look", "token": "token", "schema": "schema", "doctor": "doctor",
    "loadtest": "loadtest",
}  # fmt: skip


class Commands(click.Group):
    """Each is imported when it is asked for: a service that starts again needs only its own, and
    pages wait for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f"api.cli.{module}"), cmd_name)
        return command


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="livestate")
def main() -> None:
    """Live calls from NATS to a page you can believe.

    Start with `livestate demo`: it brings its own NATS, Valkey and calls.
    Settings are environment variables; see `livestate serve --help`.
    """
