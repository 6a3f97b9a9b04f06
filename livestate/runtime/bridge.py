"""The bridge beside one Kamailio: evapi in, ``call.events.*`` and ``cdr.raw`` out.

A frame's way: :class:`~livestate.runtime.evapi.Evapi` reads it, the translation that ``replay``
uses makes it a message, the end of a call goes to the spool (``write``, no wait), and the message
to NATS at once. Nothing here waits for a CDR. While NATS is away live events are dropped and
counted: the list that follows its return says what is true then.

Kamailio keeps the last ends of calls until we say that they are on disk (``htable``
``livestate_ends``): whatever ended while we were dead comes again when we are back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from livestate.bridge.kamailio import BadFrame, KamailioFeed, Message, Outgoing
from livestate.runtime.delivery import Delivery
from livestate.runtime.evapi import SILENT_SECONDS, Evapi
from livestate.runtime.publisher import ASKED_FOR_LIST
from livestate.runtime.spool import Spool

log = logging.getLogger("livestate.bridge")

AT_ONCE: Final = 50  # frames between two looks at the socket: about 2 ms
FSYNC_SECONDS: Final = 1.0
LIST_AGAIN_SECONDS: Final = 1.0  # a list holds Kamailio's evapi up for some 10 ms
CONNECT_AGAIN_SECONDS: Final = 0.5
TROUBLES: Final = 8  # different ones that are told of one outage of NATS
_PENDING_BYTES: Final = 16 * 1024 * 1024
_AWAY: Final = (NatsError, OSError, asyncio.TimeoutError)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
KEPT: Final = "livestate_ends"
LIST: Final = b'{"jsonrpc":"2.0","method":"dlg.list","id":"livestate-list"}'
ENDS: Final = b'{"jsonrpc":"2.0","method":"htable.dump","params":["%b"],"id":"livestate-ends"}' % (
    KEPT.encode()
)


@dataclass(slots=True)
class Counts:
    """What became of the frames: received = published + dropped + bad + silent."""

    published: int = 0
    dropped: int = 0  # live events that NATS could not take
    bad: int = 0
    cdrs: int = 0
    lists: int = 0
    connected: int = 0


class Bridge:
    """From ``run()`` until it is cancelled."""

    def __init__(
        self,
        evapi: tuple[str, int],
        nats_url: str,
        spool: Path,
        *,
        clock: Callable[[], int],
        spool_bytes: int,
        list_seconds: float,
        credentials: str | None = None,
    ) -> None:
        self.counts = Counts()
        self.spool = Spool(spool, most_bytes=spool_bytes)
        self._client = Client()
        self.delivery = Delivery(self._client, self.spool, clock)
        self._evapi_at = evapi
        self._nats_url = nats_url
        self._credentials = credentials
        self._list_seconds = list_seconds
        self._wanted = asyncio.Event()  # a list
        self.node: str | None = None
        self._epoch: int | None = None
        # Ends that Kamailio may forget once they outlive this machine, and whom to tell.
        self._unsynced: list[tuple[Evapi, str]] = []
        self._link: Evapi | None = None
        self._subscribed = False
        self._trouble = ""  # with evapi, told once
        self._nats_troubles: set[str] = set()  # each told once, until NATS is back

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stay_connected())
                tasks.create_task(self.delivery.run())
                tasks.create_task(self._list())
                tasks.create_task(self._fsync())
                self.delivery.news.set()  # what an earlier life left
                while True:
                    await self._read()
                    await asyncio.sleep(CONNECT_AGAIN_SECONDS)
        finally:
            with contextlib.suppress(*_AWAY):
                await asyncio.wait_for(self._client.close(), 2)
            self.spool.close()

    async def _stay_connected(self) -> None:
        """nats-py reconnects by itself, but only once it has been connected."""
        while True:
            try:
                await self._client.connect(
                    self._nats_url, name="livestate-bridge", user_credentials=self._credentials,
                    max_reconnect_attempts=-1, reconnect_time_wait=0.5,  # type: ignore[arg-type]
                    connect_timeout=2, ping_interval=3, max_outstanding_pings=2,
                    pending_size=_PENDING_BYTES, error_cb=self._on_error,
                    reconnected_cb=self._on_return,
                )  # fmt: skip
                await self._client.subscribe(ASKED_FOR_LIST + "*", cb=self._on_asked)
                break
            except _AWAY as error:
                await self._on_error(error)
                await asyncio.sleep(CONNECT_AGAIN_SECONDS)
        log.info("connected to NATS")
        self._subscribed = True  # a list before it would be one for nothing
        await self._on_return()

    async def _on_error(self, error: Exception) -> None:
        """It must not raise. nats-py tries again by itself, and says nothing of why it has to."""
        trouble = str(error) or type(error).__name__
        if trouble not in self._nats_troubles and len(self._nats_troubles) < TROUBLES:
            self._nats_troubles.add(trouble)
            log.warning("NATS: %s; trying again", trouble)  # no URL: a password is in it

    async def _on_return(self) -> None:
        self._nats_troubles.clear()
        self._wanted.set()
        self.delivery.news.set()

    async def _on_asked(self, message: Msg) -> None:
        if message.subject.removeprefix(ASKED_FOR_LIST) == self.node:
            self._wanted.set()

    async def _read(self) -> None:
        """One connection to Kamailio, to its end."""
        try:
            async with asyncio.timeout(3):
                link = await Evapi.connect(*self._evapi_at)
        except (OSError, TimeoutError) as error:
            trouble = str(error) or type(error).__name__
            if trouble != self._trouble:
                log.warning("evapi at %s:%d: %s; trying again", *self._evapi_at, trouble)
            self._trouble = trouble
            return
        self._link = link
        self._trouble = ""
        self.counts.connected += 1
        log.info("connected to Kamailio's evapi")
        feed = KamailioFeed()
        link.ask(ENDS)  # a list waits for NATS, these do not
        self._wanted.set()
        loop = asyncio.get_running_loop()
        dropped = 0
        try:
            while not link.over.done() or link.news.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await link.news.wait()
                frames = link.frames(AT_ONCE)
                for frame in frames:
                    await self._take(link, feed, frame)
                if not frames and link.over.done():
                    break
                if loop.time() - link.heard_at > SILENT_SECONDS:
                    link.close(f"silent for {SILENT_SECONDS:.0f} s")
                if link.dropped > dropped:
                    dropped = link.dropped
                    self._wanted.set()
                await asyncio.sleep(0)  # the socket's turn
        finally:
            self._link = None
            link.close()
        log.warning("evapi: %s", link.over.result())

    async def _take(self, link: Evapi, feed: KamailioFeed, raw: bytes) -> None:
        try:
            frame = decoded(raw)
            if isinstance(frame, dict) and frame.get("id") == "livestate-ends":
                self._take_kept(link, frame)
                return
            for outgoing in feed.feed(frame):
                if outgoing.message["phase"] in ("ended", "failed"):
                    self._keep(link, outgoing.message, str(frame.get("kept", "")))
                await self._tell(outgoing)
        except (BadFrame, ValueError, RecursionError) as error:
            self.counts.bad += 1
            if self.counts.bad < 10 or self.counts.bad % 1000 == 0:
                log.warning("a frame that says nothing to us: %s", error)

    def _take_kept(self, link: Evapi, answer: Message) -> None:
        """Ends of calls that Kamailio kept for us. For the live view the list says more."""
        for bucket in answer.get("result") or ():
            for slot in bucket.get("slot") or ():
                with contextlib.suppress(BadFrame, ValueError):
                    for outgoing in KamailioFeed().feed(decoded(str(slot["value"]).encode())):
                        self._keep(link, outgoing.message, str(slot["name"]))

    async def _tell(self, outgoing: Outgoing) -> None:
        message = outgoing.message
        self.node = message["node"]
        if message["epoch"] != self._epoch:
            if self._epoch is not None:
                log.warning("Kamailio has restarted: epoch %d", message["epoch"])
            self._epoch = message["epoch"]
        if message["phase"] == "sync" and message["part"] == message["parts"]:
            self.counts.lists += 1
        if not self._client.is_connected:
            self.counts.dropped += 1
            return
        try:
            await self._client.publish(outgoing.subject, orjson.dumps(message))
            self.counts.published += 1
        except _AWAY:
            self.counts.dropped += 1
            self._wanted.set()

    def _keep(self, link: Evapi, message: Message, kept: str) -> None:
        """A finished call's CDR onto our disk. ``kept``: Kamailio's key for its end."""
        name = f"{message['node']}-{message['epoch']}-{message['seq']}"
        if not self.spool.knows(name):
            if not self.spool.append(name, orjson.dumps(message)):
                log.error("no room for the CDR %s: Kamailio keeps it for now", name)
                return
            self.counts.cdrs += 1
            self.delivery.news.set()
        if kept:
            self._unsynced.append((link, kept))

    async def _list(self) -> None:
        """Ask for the list of dialogs: when it is wanted, and every so often. And for the ends
        that Kamailio still keeps: mostly none, else what found no room here."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._list_seconds):
                    await self._wanted.wait()
            if self._link is None or not (self._subscribed and self._client.is_connected):
                await asyncio.sleep(CONNECT_AGAIN_SECONDS / 5)
                continue
            self._wanted.clear()
            self._link.ask(ENDS)
            self._link.ask(LIST)
            await asyncio.sleep(LIST_AGAIN_SECONDS)

    async def _fsync(self) -> None:
        """What outlives this machine is forgotten by Kamailio, and not before."""
        while True:
            await asyncio.sleep(FSYNC_SECONDS)
            ends, self._unsynced = self._unsynced, []
            if not ends:
                continue
            try:
                await asyncio.to_thread(self.spool.sync)
            except OSError as error:
                log.error("the spool's disk: %s", error)
                self._unsynced = ends + self._unsynced
                continue
            for link, kept in ends:
                link.ask(_forget(kept))


def _forget(kept: str) -> bytes:
    told = {"jsonrpc": "2.0", "method": "htable.delete", "id": "livestate-kept",
            "params": [KEPT, kept]}  # fmt: skip
    return orjson.dumps(told)


def decoded(raw: bytes) -> Any:
    """JSON, though a caller's name may hold bytes that are no UTF-8, control characters, or half
    of a surrogate pair, which no JSON of ours could hold."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        text = _SURROGATE.sub(r"\\ufffd", raw.decode("utf-8", "replace"))
        return json.loads(text, strict=False)
