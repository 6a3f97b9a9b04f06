"""``livestate schema``"""

from __future__ import annotations

import json

import click

from livestate.contract.events import contract_schema


@click.command()
def schema() -> None:
    """Print the event contract as JSON Schema (draft 2020-12)."""
    click.echo(json.dumps(contract_schema(), indent=2))
