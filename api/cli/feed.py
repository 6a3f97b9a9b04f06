"""``livestate replay`` and ``livestate simulate``: calls for a NATS that has none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import click
import uvloop
from nats.errors import Error as NatsError

from api.cli.environment import settings
from livestate.bridge.replay import BadCapture, Replay, read
from livestate.runtime.clock import now_ms
from livestate.runtime.publisher import Publisher, Source
from livestate.simulator import Disturbance, Network, Traffic


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--speed", type=click.FloatRange(0.1, 10_000), default=1.0, show_default=True,
              help="Times as fast as it was.")  # fmt: skip
@click.option("--loop", is_flag=True, help="Again and again, as new calls each time.")
@click.option("--keep-times", is_flag=True, help="Publish the times of the capture, not today's.")
def replay(file: Path, speed: float, loop: bool, keep_times: bool) -> None:
    """Live a capture of raw Kamailio frames again, on NATS.

    FILE has one JSON object a line: {"arrival": unix seconds, "frame": what Kamailio sent}. It is
    translated to the contract as the bridge does it.
    """
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            frames = read(lines)
        source = Replay(frames, now_ms(), speed=speed, rounds=None if loop else 1,
                        keep_times=keep_times)  # fmt: skip
    except BadCapture as error:
        raise click.ClickException(f"{file}: {error}") from error
    _publish(source, Disturbance(), lambda: f"{source.share:4.0%} of round {source.round + 1}")


@click.command()
@click.option("--cps", type=click.FloatRange(0.01, 20_000), default=5.0, show_default=True,
              help="Calls set up per second.")  # fmt: skip
@click.option("--calls", type=click.IntRange(1), help="Stop after so many  [default: never]")
@click.option("--seed", type=int, default=1, show_default=True, help="Other seed, other calls.")
@click.option("--nodes", type=click.IntRange(1, 100), default=2, show_default=True)
@click.option("--companies", type=click.IntRange(1, 10_000), default=12, show_default=True)
@click.option("--talk-seconds", type=click.FloatRange(0.1), default=45.0, show_default=True,
              help="Mean length of a conversation.")  # fmt: skip
@click.option("--ring-seconds", type=click.FloatRange(0.1), default=6.0, show_default=True,
              help="Mean time until somebody answers.")  # fmt: skip
@click.option("--duplicates", type=click.FloatRange(0, 0.9), default=0.0, metavar="SHARE",
              help="Messages that come twice, 0 to 0.9.")  # fmt: skip
@click.option("--reorder", type=click.FloatRange(0, 0.9), default=0.0, metavar="SHARE",
              help="Messages that others overtake.")  # fmt: skip
@click.option("--losses", type=click.FloatRange(0, 0.9), default=0.0, metavar="SHARE",
              help="Messages that never come.")  # fmt: skip
def simulate(
    cps: float, calls: int | None, seed: int, nodes: int, companies: int, talk_seconds: float,
    ring_seconds: float,
    duplicates: float, reorder: float, losses: float,
) -> None:  # fmt: skip
    """Simulate a network of nodes, companies and trunks, on NATS.

    Two thirds of the calls are answered; the others are busy, not answered, cancelled … Some are
    held, transferred, re-routed or tried again. Its nodes beat, and answer for their lists.
    """
    traffic = Traffic(cps, calls, seed, nodes, companies, talk_seconds, ring_seconds)
    network = Network(traffic, now_ms())
    of = f" of {calls:,}" if calls else ""
    _publish(network, Disturbance(duplicates, reorder, losses, seed),
             lambda: f"{network.started:,} calls{of}")  # fmt: skip


def _publish(source: Source, disturbance: Disturbance, progress: Callable[[], str]) -> None:
    found = settings()
    publisher = Publisher(found.nats_url, source, clock=now_ms, credentials=found.nats_creds,
                          disturbance=disturbance)  # fmt: skip

    def line() -> str:
        lost = f", {publisher.disturbed.lost:,} lost" if publisher.disturbed.lost else ""
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
    except (OSError, NatsError) as error:
        raise click.ClickException(f"NATS at {found.nats_url}: {error}") from error
    except KeyboardInterrupt:
        pass
    click.echo(line())
