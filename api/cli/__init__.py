"""The ``livestate`` command. One module a command; this one only gathers them."""

from __future__ import annotations

import click

from api.cli.bridge import bridge
from api.cli.demo import demo
from api.cli.doctor import doctor
from api.cli.feed import replay, simulate
from api.cli.loadtest import loadtest
from api.cli.look import snapshot, tail
from api.cli.schema import schema
from api.cli.serve import serve
from api.cli.token import token


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="livestate")
def main() -> None:
    """Live calls from NATS to a page you can believe.

    Start with `livestate demo`: it brings its own NATS, Valkey and calls.
    Settings are environment variables; see `livestate serve --help`.
    """


for command in (
    serve, bridge, demo, replay, simulate, tail, snapshot, token, schema, doctor, loadtest,
):  # fmt: skip
    main.add_command(command)
