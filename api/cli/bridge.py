"""``livestate bridge``: forwards a Kamailio's calls and CDRs to NATS; ``--check`` diagnoses it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
import orjson
import uvloop
from nats.errors import Error as NatsError

from api.cli import check_kamailio
from api.cli.check_kamailio import Seen, fits, largest
from api.cli.doctor import tell
from api.cli.finding import Finding
from api.cli.log_format import use_json
from api.cli.nats import NatsInbox, NatsUrls, reached, stream
from api.cli.secret_option import SecretOption
from livestate.bridge.kamailio.source import KamailioSource
from livestate.bridge.outbox import summary
from livestate.bridge.relay import Bridge
from livestate.bridge.spool import SpoolUnusable
from livestate.contract.events import MAX_EVENTS_A_BATCH, MAX_MESSAGE_BYTES, RESYNC_PREFIX
from livestate.nats.connection import AWAY
from livestate.nats.jetstream import CDRS
from livestate.process import logs
from livestate.process.clock import now_ms
from livestate.process.masking import masked
from livestate.process.systemd import Systemd
from livestate.process.tasks import cancel_and_wait

LINE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """Addresses and credentials of both ends."""

    evapi: tuple[str, int]
    nats_url: str
    nats_creds: str | None
    nats_inbox: str
    spool: Path
    spool_bytes: int
    list_seconds: float
    batch: int


class _Address(click.ParamType[tuple[str, int]]):
    name = "HOST:PORT"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value!r} is no address such as 127.0.0.1:8448", param, ctx)
        return host, int(port)


@click.command(context_settings={"auto_envvar_prefix": "LIVESTATE_BRIDGE"})
@click.option(
    "--evapi",
    type=_Address(),
    default="127.0.0.1:8448",
    show_default=True,
    show_envvar=True,
    help="Kamailio's evapi: LIVESTATE_EVAPI of livestate.cfg.",
)
@click.option(
    "--nats-url",
    type=NatsUrls(),
    default="nats://127.0.0.1:4222",
    show_default=True,
    show_envvar=True,
    metavar="URL",
    cls=SecretOption,
    help="The NATS server, or several of a cluster separated by commas. "
    "LIVESTATE_BRIDGE_NATS_URL_FILE names a file that holds it.",
)
@click.option(
    "--nats-creds",
    type=click.Path(dir_okay=False),
    show_envvar=True,
    help="A NATS credentials file for an account that may publish only.",
)
@click.option(
    "--nats-inbox",
    type=NatsInbox(),
    default="_INBOX.bridge",
    show_default=True,
    show_envvar=True,
    help="Prefix of reply subjects; a different one for each NATS user.",
)
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    default="/var/lib/livestate-bridge",
    show_default=True,
    show_envvar=True,
    help="Directory of CDRs that wait for NATS; one per bridge.",
)
@click.option(
    "--spool-mb",
    type=click.IntRange(1, 1_000_000),
    default=1024,
    show_default=True,
    show_envvar=True,
    help="Limit of the spool; a CDR has about 0.7 kB.",
)
@click.option(
    "--list-seconds",
    type=click.FloatRange(5, 60),
    default=45.0,
    show_default=True,
    show_envvar=True,
    help="Interval of dialog lists, besides requested ones.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, MAX_EVENTS_A_BATCH),
    default=1,
    show_default=True,
    show_envvar=True,
    help="Events that may share one message when several come at the same moment. Above 1 only "
    "if every livestate that listens is of this version or a later one; 32 is a good value.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    show_envvar=True,
    help="Format of standard error.",
)
@click.option(
    "--check", is_flag=True, help="Report what is missing and how to correct it; changes nothing."
)
def bridge(
    evapi: tuple[str, int],
    nats_url: str,
    nats_creds: str | None,
    nats_inbox: str,
    spool: Path,
    spool_mb: int,
    list_seconds: float,
    batch: int,
    log_format: str,
    check: bool,
) -> None:
    """Forward a Kamailio's calls and CDRs to NATS.

    Kamailio includes deploy/kamailio/livestate.cfg; docs/bridge.md says how. Each option can be an
    environment variable.
    """
    wiring = Wiring(
        evapi, nats_url, nats_creds, nats_inbox, spool, spool_mb * 1024**2, list_seconds, batch
    )
    if check:
        sys.exit(asyncio.run(tell(findings(wiring))))
    logs.set_up("INFO", "%(levelname)s %(name)s: %(message)s")
    if log_format == "json":
        use_json()
    try:
        uvloop.run(_run(wiring))
    except SpoolUnusable as error:
        raise click.ClickException(f"the spool: {error}") from error


async def _run(wiring: Wiring) -> None:
    running = Bridge(
        KamailioSource(*wiring.evapi),
        wiring.nats_url,
        wiring.spool,
        clock=now_ms,
        spool_bytes=wiring.spool_bytes,
        list_seconds=wiring.list_seconds,
        credentials=wiring.nats_creds,
        inbox=wiring.nats_inbox,
        batch=wiring.batch,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    systemd = Systemd(os.environ)
    work, telling, stopped, watchdog = (
        asyncio.create_task(one)
        for one in (running.run(), _tell(running), stop.wait(), systemd.run())
    )
    systemd.ready()
    try:
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        systemd.stopping()
        await cancel_and_wait(work, telling, stopped, watchdog)
        logging.getLogger("livestate.bridge").info(_line(running))


async def _tell(running: Bridge) -> None:
    while True:
        await asyncio.sleep(LINE_SECONDS)
        logging.getLogger("livestate.bridge").info(_line(running))


def _line(running: Bridge) -> str:
    counts, delivery, spool = running.counts, running.cdr_publisher, running.spool
    return (
        f"{counts.published} published, {counts.dropped} dropped "
        f"({summary(running.outbox.refused.items())}), {counts.bad} bad frames, "
        f"{counts.lists} lists; {counts.cdrs} CDRs, {delivery.delivered} delivered, "
        f"{delivery.already_stored} found delivered, "
        f"{len(spool)} waiting, {spool.lost} without room; "
        f"{spool.lost_refused} of refused calls dropped, {spool.damaged} damaged, "
        f"{delivery.limits.refusals} times one was not taken, "
        f"{running.source.dropped_ends} given up by the node"
    )


async def findings(wiring: Wiring) -> AsyncIterator[Finding]:
    """The findings in order: spool, Kamailio, NATS."""
    yield _spool(wiring)
    where = "evapi at {}:{}".format(*wiring.evapi)
    seen = Seen()
    try:
        seen = await check_kamailio.look(wiring.evapi)
    except (OSError, TimeoutError) as error:
        yield Finding(
            "bad",
            f"{where}: {error or type(error).__name__}",
            "is Kamailio running, does its configuration include livestate.cfg, and is "
            "LIVESTATE_EVAPI this address?",
        )
    else:
        async for finding in check_kamailio.findings(where, seen):
            yield finding
    async for finding in _nats(wiring, seen):
        yield finding


def _spool(wiring: Wiring) -> Finding:
    where = wiring.spool
    near = next(path for path in (where, *where.absolute().parents) if path.exists())
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        return Finding(
            "bad",
            f"spool {where}: {near} cannot be written",
            f"create it for the bridge's user, or set --spool: mkdir -p {where}",
        )
    free = shutil.disk_usage(near).free
    if free < wiring.spool_bytes:
        return Finding(
            "odd",
            f"spool {where}: {free // 1024**2} MB free, "
            f"--spool-mb is {wiring.spool_bytes // 1024**2}",
            "free disk space, or CDRs may not fit while NATS is away",
        )
    return Finding("good", f"spool {where}: writable, with room for --spool-mb")


async def _nats(wiring: Wiring, seen: Seen) -> AsyncIterator[Finding]:
    where = f"NATS at {masked(wiring.nats_url)}"
    errors: list[Exception] = []
    session, refused = await reached(wiring.nats_url, wiring.nats_creds, wiring.nats_inbox, errors)
    for finding in refused:
        yield finding
    if session is None:
        return
    try:
        room = min(session.max_payload, MAX_MESSAGE_BYTES)
        if seen.beat is not None:
            subject, message = seen.beat
            await session.subscribe(RESYNC_PREFIX + message["node"])
            # A valid heartbeat, as long as the longest part of the list: livestate ignores unknown
            # fields, and an account's own limit is not visible in any other way.
            padding = "x" * max(largest(seen, room) - len(orjson.dumps(message)) - 20, 0)
            await session.publish(subject, orjson.dumps(message | {"padding": padding}))
        await session.flush()
        await asyncio.sleep(0.2)  # an error arrives after the reply to the flush
        if session.over.is_set():
            raise NatsError("the connection was closed")
        if errors:
            yield Finding(
                "bad",
                f"{where}: {errors[0]}",
                "let this account publish call.events.* and subscribe to call.resync.>: "
                "see deploy/nats.conf",
            )
        else:
            yield Finding("good", f"{where}: accepts events")
        yield fits(where, seen, room)
        yield await stream(session, where, replace(CDRS, under_a_node=True), errors)
    except AWAY as error:
        said = str(session.reason or error or type(error).__name__)
        mend = "the server closed the connection; its log says why"
        if "maximum payload" in said.lower():
            mend = (
                "this account accepts less than max_payload: raise its limit. The bridge sends "
                "shorter messages, but loses a connection to detect the limit"
            )
        yield Finding("bad", f"{where}: {said}", mend)
    finally:
        await session.leave()
