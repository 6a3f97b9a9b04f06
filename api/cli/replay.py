"""``livestate replay``: a capture of Kamailio's frames, published again."""

from __future__ import annotations

from pathlib import Path

import click

from api.cli.publishing import publish
from livestate.devtools.disturbance import Disturbance
from livestate.devtools.replay import BadCapture, Replay, read
from livestate.process.clock import now_ms


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 10_000),
    default=1.0,
    show_default=True,
    help="Speed; 1 is that of the capture.",
)
@click.option("--loop", is_flag=True, help="Repeat without end, each time as new calls.")
@click.option(
    "--keep-times", is_flag=True, help="Keep the times of the capture; by default calls begin now."
)
def replay(file: Path, speed: float, loop: bool, keep_times: bool) -> None:
    """Replay a capture of raw Kamailio frames on NATS.

    FILE has one JSON object per line: {"arrival": Unix seconds, "frame": the frame as Kamailio
    sent it}. The frames are translated to the contract as in the bridge.
    """
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            frames = read(lines)
        source = Replay(
            frames, now_ms(), speed=speed, rounds=None if loop else 1, keep_times=keep_times
        )
    except BadCapture as error:
        raise click.ClickException(f"{file}: {error}") from error
    publish(source, Disturbance(), lambda: f"{source.progress:4.0%} of round {source.round + 1}")
