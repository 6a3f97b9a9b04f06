"""``livestate demo``: everything on this machine, with calls, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import click

from api.auth import demo_key
from api.cli.child_service import Instance
from livestate.devtools.child_process import Server, ServerFailed, free_port, is_free
from livestate.devtools.publisher import Publisher
from livestate.devtools.replay import Replay, read
from livestate.devtools.servers import NatsServer, any_redis
from livestate.devtools.simulator import MEASURED, Network, Traffic
from livestate.nats.jetstream import create_at
from livestate.process import logs
from livestate.process.clock import now_ms

Running = TypeVar("Running", bound=Server)
_LOOK_SECONDS = 0.25
_COMPANY = "101"


@click.command()
@click.option(
    "--port",
    type=int,
    default=8080,
    show_default=True,
    help="Port of the page; 0 for any free one.",
)
@click.option(
    "--cps",
    type=click.FloatRange(0, 2_000),
    default=3.0,
    show_default=True,
    help="Simulated calls per second beside the real capture; 0 for none.",
)
@click.option(
    "--edges",
    type=click.IntRange(0, 8),
    default=0,
    show_default=True,
    help="Serve from so many edges beside two engines, of which one is warm (docs/scale.md); 0 for "
    "one process.",
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--seconds", type=float, help="End after this time.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    default=demo_key.DIRECTORY,
    show_default=True,
    help="Directory of the demo key; created if missing.",
)
def demo(port: int, cps: float, edges: int, seed: int, seconds: float | None, keys: Path) -> None:
    """Real servers, real calls, one page: everything embedded.

    Starts nats-server, Valkey or Redis, and the service; feeds them a capture of a real Kamailio,
    again and again, and simulated calls. Kill any of them: it comes back, and the page stays
    right. Ctrl-C ends it all and leaves nothing behind.
    """
    # This loop publishes the calls: unread output must not block it.
    logs.set_up("WARNING", "%(levelname)s %(name)s: %(message)s")
    logs.unblock_stdout()
    try:
        asyncio.run(_demo(port, cps, edges, seed, seconds, keys))
    except ServerFailed as error:
        raise click.ClickException(str(error)) from error


async def _demo(
    port: int, cps: float, edges: int, seed: int, seconds: float | None, keys: Path
) -> None:
    stopping = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    if port == 0:
        port = free_port()
    elif not is_free(port):
        click.secho(f"port {port} is taken; using another", fg="yellow")
        port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        nats = await _up(stack, NatsServer())
        await create_at(nats.url)
        redis = await _up(stack, any_redis())
        addresses = {"NATS_URL": nats.url, "REDIS_URL": redis.url}
        services, engines = [], []
        if edges:
            for _ in range(2):  # the second one is warm
                own = Instance(keys, addresses | {"ROLE": "engine"})
                engines.append(await _up(stack, own))
            addresses |= {"ROLE": "edge"}
            for number in range(edges):
                own = Instance(keys, addresses, port=free_port() if number else port)
                services.append(await _up(stack, own))
        else:
            services.append(await _up(stack, Instance(keys, addresses, port=port)))
        work = [publisher.run() for publisher in _calls(nats.url, cps, seed)]
        work.append(_guard((nats, redis, *engines, *services)))
        tasks = [asyncio.create_task(one) for one in work]
        for service in services:
            _welcome(service, keys)
        click.echo("\nCtrl-C ends everything.")
        until = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait(
                [until, *tasks], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            click.echo("\nending …")
        finally:
            for task in (until, *tasks):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    click.echo("everything has ended; no process or file is left")


async def _up(stack: contextlib.AsyncExitStack, server: Running) -> Running:
    click.echo(f"starting {server.name} … ", nl=False)
    await stack.enter_async_context(server)
    click.echo(f"up on port {server.port}")
    return server


def _calls(nats_url: str, cps: float, seed: int) -> list[Publisher]:
    capture = files("livestate.devtools") / "captures" / "capture-small.jsonl"
    replay = Replay(read(capture.read_text().splitlines()), now_ms(), rounds=None)
    publishers = [Publisher(nats_url, replay, clock=now_ms)]
    if cps:
        network = Network(Traffic(cps=cps, seed=seed, measured=MEASURED), now_ms())
        publishers.append(Publisher(nats_url, network, clock=now_ms))
    return publishers


def _welcome(service: Instance, keys: Path) -> None:
    everything = demo_key.mint(keys, "noc")
    one = demo_key.mint(keys, "user", company_id=_COMPANY, subject=f"user-of-{_COMPANY}")
    click.echo(f"\nthe page            {service.url}/live-calls")
    click.echo(f"log in as noc       {service.url}/login#{everything}")
    click.echo(f"or as company {_COMPANY}   {service.url}/login#{one}")
    click.echo(f"state and metrics   {service.admin_url}/statusz  {service.admin_url}/metrics")


async def _guard(servers: Sequence[Server]) -> None:
    """Restart servers that die, as systemd or a container runtime would."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for server in servers:
            if not server.running:
                click.echo(f"{server.name} has died; restarting it … ", nl=False)
                await server.start()
                click.echo("up")
