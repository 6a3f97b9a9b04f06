"""Publishes made-up calls on NATS, for ``livestate replay`` and ``livestate simulate``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import click
import uvloop

from api.cli.environment import settings
from livestate.devtools.disturbance import Disturbance
from livestate.devtools.publisher import Publisher, Source
from livestate.nats.connection import Unreachable
from livestate.process import logs
from livestate.process.clock import now_ms


def publish(
    source: Source, disturbance: Disturbance, progress: Callable[[], str], batch: int = 1
) -> None:
    """Publish the messages of ``source`` on NATS until it ends or Ctrl-C, and show the progress.
    ``batch`` is how many events that are due together may share one message.

    Raises :class:`click.ClickException` if NATS cannot be reached.
    """
    found = settings()
    # Log lines go through a thread: a stopped terminal must not stop the loop that publishes.
    logs.set_up("WARNING", "%(levelname)s %(name)s: %(message)s")
    publisher = Publisher(
        found.nats_url,
        source,
        clock=now_ms,
        credentials=found.nats_creds,
        inbox=found.nats_inbox,
        disturbance=disturbance,
        batch=batch,
    )

    def line() -> str:
        lost = f", {publisher.disturber.lost:,} lost" if publisher.disturber.lost else ""
        return f"{progress()}, {source.live:,} live, {publisher.published:,} messages{lost}"

    async def show() -> None:
        while True:
            await asyncio.sleep(0.5)
            click.echo(f"\r\033[K{line()}", nl=False, err=True)

    async def run() -> None:
        showing = asyncio.create_task(show()) if sys.stderr.isatty() else None
        try:
            await publisher.run()
        finally:
            if showing is not None:
                showing.cancel()
                click.echo("\r\033[K", nl=False, err=True)

    try:
        uvloop.run(run())
    except Unreachable as error:
        raise click.ClickException(f"NATS: {error}") from error
    except KeyboardInterrupt:
        pass
    click.echo(line())
