"""``livestate bridge``: a Kamailio's calls and CDRs to NATS; ``--check`` says what is missing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import orjson
import uvloop
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from api.cli.doctor import Finding, tell
from api.settings import masked
from livestate.bridge.kamailio import BadFrame, KamailioFeed, Outgoing
from livestate.events import CDR_SUBJECT
from livestate.runtime.bridge import ENDS, LIST, Bridge, decoded
from livestate.runtime.cdrs import STREAM
from livestate.runtime.clock import now_ms
from livestate.runtime.ending import end
from livestate.runtime.evapi import Evapi
from livestate.runtime.publisher import ASKED_FOR_LIST
from livestate.runtime.spool import SpoolUnusable

BEAT_SECONDS: Final = 5.0  # a node beats every 2 s
LINE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where the two ends are."""

    evapi: tuple[str, int]
    nats_url: str
    nats_creds: str | None
    spool: Path
    spool_bytes: int
    list_seconds: float


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
@click.option("--evapi", type=_Address(), default="127.0.0.1:8448", show_default=True,
              show_envvar=True,
              help="Kamailio's evapi: LIVESTATE_EVAPI of livestate.cfg.")  # fmt: skip
@click.option("--nats-url", default="nats://127.0.0.1:4222", show_default=True, show_envvar=True,
              metavar="URL", help="The NATS server.")  # fmt: skip
@click.option("--nats-creds", type=click.Path(dir_okay=False), show_envvar=True,
              help="A NATS credentials file for an account that may publish only.")  # fmt: skip
@click.option("--spool", type=click.Path(file_okay=False, path_type=Path),
              default="/var/lib/livestate-bridge", show_default=True, show_envvar=True,
              help="Where CDRs wait for NATS: one directory a bridge.")  # fmt: skip
@click.option("--spool-mb", type=click.IntRange(1, 1_000_000), default=1024, show_default=True,
              show_envvar=True, help="How much of it at most; a CDR is about 0.7 kB.")  # fmt: skip
@click.option("--list-seconds", type=click.FloatRange(5, 60), default=45.0, show_default=True,
              show_envvar=True,
              help="Between two lists of dialogs, besides those asked for.")  # fmt: skip
@click.option(
    "--check", is_flag=True, help="Say what is missing and how to mend it; change nothing."
)
def bridge(
    evapi: tuple[str, int], nats_url: str, nats_creds: str | None, spool: Path, spool_mb: int,
    list_seconds: float, check: bool,
) -> None:  # fmt: skip
    """Bring a Kamailio's calls and CDRs to NATS.

    Kamailio includes deploy/kamailio/livestate.cfg; docs/bridge.md says how. Each option can be an
    environment variable.
    """
    wiring = Wiring(evapi, nats_url, nats_creds, spool, spool_mb * 1024**2, list_seconds)
    if check:
        sys.exit(asyncio.run(tell(findings(wiring))))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        uvloop.run(_run(wiring))
    except SpoolUnusable as error:
        raise click.ClickException(f"the spool: {error}") from error


async def _run(wiring: Wiring) -> None:
    running = Bridge(
        wiring.evapi, wiring.nats_url, wiring.spool, clock=now_ms, spool_bytes=wiring.spool_bytes,
        list_seconds=wiring.list_seconds, credentials=wiring.nats_creds,
    )  # fmt: skip
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    work, telling, stopped = (
        asyncio.create_task(one) for one in (running.run(), _tell(running), stop.wait())
    )
    try:
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        await end(work, telling, stopped)
        logging.getLogger("livestate.bridge").info(_line(running))


async def _tell(running: Bridge) -> None:
    while True:
        await asyncio.sleep(LINE_SECONDS)
        logging.getLogger("livestate.bridge").info(_line(running))


def _line(running: Bridge) -> str:
    counts, delivery, spool = running.counts, running.delivery, running.spool
    return (
        f"{counts.published} published, {counts.dropped} dropped, {counts.bad} bad frames, "
        f"{counts.lists} lists; {counts.cdrs} CDRs, {delivery.delivered} delivered, "
        f"{delivery.found} found delivered, {len(spool)} waiting, {spool.lost} without room"
    )


async def findings(wiring: Wiring) -> AsyncIterator[Finding]:
    """Everything that was looked at, in order: the spool, Kamailio, NATS."""
    yield _spool(wiring)
    beat: Outgoing | None = None
    async for found in _kamailio(wiring):
        if isinstance(found, Outgoing):
            beat = found
        else:
            yield found
    async for finding in _nats(wiring, beat):
        yield finding


def _spool(wiring: Wiring) -> Finding:
    where = wiring.spool
    near = next(path for path in (where, *where.absolute().parents) if path.exists())
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        return Finding("bad", f"spool {where}: {near} cannot be written",
                       f"create it for the bridge's user, or set --spool: mkdir -p {where}",
                       )  # fmt: skip
    free = shutil.disk_usage(near).free
    if free < wiring.spool_bytes:
        return Finding("odd", f"spool {where}: {free // 1024**2} MB are free, "
                       f"--spool-mb is {wiring.spool_bytes // 1024**2}",
                       "make room, or CDRs may find none while NATS is away")  # fmt: skip
    return Finding("good", f"spool {where}: can be written, with room for --spool-mb")


async def _kamailio(wiring: Wiring) -> AsyncIterator[Finding | Outgoing]:
    where = "evapi at {}:{}".format(*wiring.evapi)
    try:
        async with asyncio.timeout(3):
            link = await Evapi.connect(*wiring.evapi)
    except (OSError, TimeoutError) as error:
        yield Finding("bad", f"{where}: {error or type(error).__name__}",
                      "is Kamailio running, does its configuration include livestate.cfg, and is "
                      "LIVESTATE_EVAPI this address?")  # fmt: skip
        return
    feed, beat = KamailioFeed(), None
    listed: int | None = None
    kept: Any = None
    trouble = ""
    link.ask(LIST)
    link.ask(ENDS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BEAT_SECONDS):
            while (beat is None or listed is None or kept is None) and not link.over.done():
                await link.news.wait()
                for raw in link.frames(100):
                    try:
                        frame = decoded(raw)
                        if frame.get("id") == "livestate-ends":
                            kept = frame
                            continue
                        for told in feed.feed(frame):
                            if told.message["phase"] == "heartbeat":
                                beat = told
                            elif told.message["phase"] == "sync":
                                listed = (listed or 0) + len(told.message["calls"])
                    except (BadFrame, ValueError, AttributeError) as error:
                        trouble = str(error)
    link.close()
    if beat is None:
        yield Finding("bad", f"{where}: connected, but no heartbeat in {BEAT_SECONDS:.0f} s",
                      "the rtimer lines of livestate.cfg beat every 2 s: are they there? "
                      "Does another program listen here? " + trouble)  # fmt: skip
        return
    yield Finding("good", f"{where}: {beat.message['node']} beats, "
                  f"{beat.message.get('dialogs', '?')} dialogs")  # fmt: skip
    if listed is None:
        yield Finding("bad", f"{where}: no list of dialogs {trouble}",
                      "it needs jsonrpcs, dialog, and event_route[evapi:message-received] of "
                      "livestate.cfg")  # fmt: skip
    else:
        yield Finding("good", f"{where}: lists its dialogs ({listed} live)")
    if kept is None or "error" in kept:
        yield Finding("bad", f"{where}: keeps no ends of calls for us",
                      "the htable livestate_ends of livestate.cfg is missing: what ends while the "
                      "bridge is down would have no CDR")  # fmt: skip
    else:
        yield Finding("good", f"{where}: keeps the ends of calls until we have them")
    yield beat


async def _nats(wiring: Wiring, beat: Outgoing | None) -> AsyncIterator[Finding]:
    where = f"NATS at {masked(wiring.nats_url)}"
    refused: list[Exception] = []

    async def on_error(error: Exception) -> None:
        refused.append(error)

    client = Client()
    try:
        await asyncio.wait_for(client.connect(
            wiring.nats_url, user_credentials=wiring.nats_creds, allow_reconnect=False,
            max_reconnect_attempts=1, reconnect_time_wait=0,  # nats-py tries for long otherwise
            connect_timeout=2, error_cb=on_error,
        ), 5)  # fmt: skip
        if beat is not None:
            await client.subscribe(ASKED_FOR_LIST + beat.message["node"])
            await client.publish(beat.subject, orjson.dumps(beat.message))  # a true heartbeat
        await client.flush()
        await asyncio.sleep(0.2)  # a refusal comes behind the answer to our flush
    except (TimeoutError, OSError, NatsError) as error:
        said = refused[-1] if refused else error or type(error).__name__
        yield Finding("bad", f"{where}: {said}",
                      "start it, or set --nats-url, --nats-creds")  # fmt: skip
        return
    if refused:
        yield Finding("bad", f"{where}: {refused[0]}",
                      "let this account publish call.events.* and subscribe to call.resync.*: "
                      "see deploy/nats.conf")  # fmt: skip
    else:
        yield Finding("good", f"{where}: takes events")
    try:
        info = await client.jetstream().stream_info(STREAM)
        size = info.state.bytes // 1024**2
        yield Finding("good", f"{where}: stream {STREAM} has {info.state.messages} CDRs, {size} MB")
    except NotFoundError:
        yield Finding("odd", f"{where}: no stream {STREAM}",
                      f"the bridge makes it for {CDR_SUBJECT} with the first CDR")  # fmt: skip
    except (TimeoutError, OSError, NatsError) as error:
        yield Finding("bad", f"{where}: JetStream: {error or type(error).__name__}",
                      "turn JetStream on, and allow what deploy/nats.conf allows the bridge",
                      )  # fmt: skip
    finally:
        await client.close()
