"""``livestate simulate``: random calls of a whole network."""

from __future__ import annotations

import click

from api.cli.publishing import publish
from livestate.contract.events import MAX_EVENTS_A_BATCH
from livestate.devtools.disturbance import Disturbance
from livestate.devtools.simulator import MEASURED, Network, Traffic
from livestate.process.clock import now_ms


@click.command()
@click.option(
    "--cps",
    type=click.FloatRange(0.01, 20_000),
    default=5.0,
    show_default=True,
    help="Calls set up per second.",
)
@click.option(
    "--calls", type=click.IntRange(1), help="Stop after this many calls  [default: never]"
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Seed of the random generator."
)
@click.option("--nodes", type=click.IntRange(1, 100), default=2, show_default=True)
@click.option("--companies", type=click.IntRange(1, 10_000), default=12, show_default=True)
@click.option(
    "--talk-seconds",
    type=click.FloatRange(0.1),
    default=45.0,
    show_default=True,
    help="Mean duration of a conversation.",
)
@click.option(
    "--ring-seconds",
    type=click.FloatRange(0.1),
    default=6.0,
    show_default=True,
    help="Mean time until the answer.",
)
@click.option(
    "--duplicates",
    type=click.FloatRange(0, 0.9),
    default=0.0,
    metavar="SHARE",
    help="Share of messages sent twice, 0 to 0.9.",
)
@click.option(
    "--reorder",
    type=click.FloatRange(0, 0.9),
    default=0.0,
    metavar="SHARE",
    help="Share of messages sent late, after later ones.",
)
@click.option(
    "--losses",
    type=click.FloatRange(0, 0.9),
    default=0.0,
    metavar="SHARE",
    help="Share of messages not sent.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, MAX_EVENTS_A_BATCH),
    default=1,
    show_default=True,
    help="Events that may share one message when several are due at the same moment.",
)
def simulate(
    cps: float,
    calls: int | None,
    seed: int,
    nodes: int,
    companies: int,
    talk_seconds: float,
    ring_seconds: float,
    duplicates: float,
    reorder: float,
    losses: float,
    batch: int,
) -> None:
    """Simulate a network of nodes, companies and trunks on NATS.

    Two thirds of the calls are answered; the others are busy, not answered, cancelled … Some are
    held, transferred, re-routed or tried again. The nodes send heartbeats and answer requests for
    their lists.
    """
    traffic = Traffic(
        cps, calls, seed, nodes, companies, talk_seconds, ring_seconds, measured=MEASURED
    )
    network = Network(traffic, now_ms())
    total = f" of {calls:,}" if calls else ""
    publish(
        network,
        Disturbance(duplicates, reorder, losses, seed),
        lambda: f"{network.started:,} calls{total}",
        batch,
    )
