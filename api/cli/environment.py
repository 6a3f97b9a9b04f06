"""Settings for a command: read, warned about, or refused with every reason at once."""

from __future__ import annotations

import os
import sys

import click

from api.environment import SettingsError, from_environment
from api.settings import Settings


def settings() -> Settings:
    """The environment's settings; exits with 2 and all problems if any is wrong."""
    try:
        found, warnings = from_environment(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            click.secho(f"error: {problem}", fg="red", err=True)
        sys.exit(2)
    for warning in warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    return found
