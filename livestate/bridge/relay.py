"""Relays one SIP node: its messages to NATS, its finished calls to the spool.

``livestate bridge`` runs one :class:`Bridge`. A :class:`~livestate.bridge.source.Source` hands over
messages of the contract. Every message is published at once, and the terminal event of a call is
also appended to the spool (one ``write``), from where the CDR publisher delivers it. Reading the
node never waits for a CDR. While NATS is away, live events are dropped and counted: the list that
follows its return says what is true then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from livestate.bridge.batch import Batch
from livestate.bridge.cdr_publisher import CdrPublisher
from livestate.bridge.list_pace import ListPace
from livestate.bridge.outbox import Outbox
from livestate.bridge.source import Source
from livestate.bridge.spool import Spool
from livestate.contract.encoding import Unsendable, encode
from livestate.contract.events import CDR_SUBJECT, MAX_MESSAGE_BYTES, RESYNC_PREFIX, SYNC_SUBJECT
from livestate.contract.messages import Message, Outgoing
from livestate.nats.cdr_ids import plain_id
from livestate.nats.connection import Connection
from livestate.process.log_limit import LogLimit, printable

log = logging.getLogger("livestate.bridge")

FSYNC_SECONDS: Final = 1.0
CONNECT_AGAIN_SECONDS: Final = 0.5
ERRORS_LOGGED: Final = 8  # different errors of one connection
_PENDING_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class Counts:
    """What became of a source's messages."""

    published: int = 0
    dropped: int = 0  # live events that were not published; ``Outbox.refused`` has the reasons
    bad: int = 0  # invalid pieces of input
    cdrs: int = 0
    lists: int = 0


class Bridge:
    """The :class:`~livestate.bridge.source.Receiver` of ``source``, while ``run()`` runs.

    ``spool`` is a directory, ``spool_bytes`` its bound. ``clock`` gives ms. ``list_seconds`` is the
    time between two lists without a request. ``batch`` is how many events may be published in one
    message, where the source has several at the same moment.
    """

    def __init__(
        self,
        source: Source,
        nats_url: str,
        spool: Path,
        *,
        clock: Callable[[], int],
        spool_bytes: int,
        list_seconds: float,
        credentials: str | None = None,
        inbox: str = "_INBOX",
        batch: int = 1,
    ) -> None:
        self.counts = Counts()
        self.spool = Spool(spool, most_bytes=spool_bytes)
        self.connection = Connection(
            nats_url,
            "livestate-bridge",
            credentials=credentials,
            inbox=inbox,
            pending_bytes=_PENDING_BYTES,
            begin=self._begin,
            failed=self._on_error,
        )
        self.outbox = Outbox(time.monotonic)
        self._batch = Batch(self.outbox, batch)
        self.cdr_publisher = CdrPublisher(
            self.connection, self.spool, clock, max_bytes=self.outbox.max_bytes
        )
        self.source = source
        self._list_seconds = list_seconds
        self._bad_log = LogLimit()
        self._list_wanted = asyncio.Event()
        self._lists = ListPace(list_seconds)
        self._epoch: int | None = None
        # To be called when the CDRs that were appended before are on the disk.
        self._unsynced: list[Callable[[], None]] = []
        self._source_trouble = ""  # logged once
        self._nats_errors: set[str] = set()  # each is logged once per connection

    async def run(self) -> None:
        """Relay until cancelled. A connection that ends, on either side, is made again."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.connection.run())
                tasks.create_task(self.cdr_publisher.run())
                tasks.create_task(self._request_lists())
                tasks.create_task(self._sync_spool())
                tasks.create_task(self._flush_batches())
                self.cdr_publisher.news.set()  # CDRs of the process before
                while True:
                    await self._read()
                    await asyncio.sleep(CONNECT_AGAIN_SECONDS)
        finally:
            self.spool.close()

    # -- Receiver: what the source calls ------------------------------------------------------

    async def publish(self, outgoing: Outgoing) -> None:
        message = outgoing.message
        if message["epoch"] != self._epoch:
            if self._epoch is not None:
                log.warning("the node restarted: epoch=%d", message["epoch"])
            self._epoch = message["epoch"]
        is_list = message["phase"] == "sync"
        self.counts.lists += is_list
        if not self.connection.connected:
            self.counts.dropped += 1 + await self._batch.flush(None)
            self.outbox.disconnected()
            return
        if self._batch.takes(outgoing):
            self.counts.dropped += await self._batch.add(self.connection.client, outgoing)
            self.counts.published = self.outbox.published
            return
        self.counts.dropped += await self._batch.flush(self.connection.client)
        whole = await self.outbox.send(self.connection.client, outgoing, self.reject)
        self.counts.published = self.outbox.published
        self.counts.dropped += not whole
        if is_list:
            if whole:
                self._lists.published()
            else:
                self._lists.refused()
                self._list_wanted.set()

    async def _flush_batches(self) -> None:
        """Publish events as soon as the source has no other one that it can hand over now: the
        event loop runs this task when the source waits for its next read."""
        while True:
            await self._batch.begun.wait()
            client = self.connection.client if self.connection.connected else None
            self.counts.dropped += await self._batch.flush(client)
            self.counts.published = self.outbox.published

    def keep(self, cdr: Message, acknowledge: Callable[[], None] | None) -> None:
        try:
            data = encode(Outgoing(CDR_SUBJECT, cdr), MAX_MESSAGE_BYTES)
        except Unsendable as error:
            self.reject(f"the end of a call: {error}")
            return
        name = self.spool.ids.id_of(cdr)
        if not (self.spool.knows(name) or self.spool.knows(plain_id(cdr))):
            refused = "dialog" not in cdr  # the proxy refused the call; scanners cause thousands
            if not self.spool.append(name, data, refused=refused):
                lost = self.spool.lost + self.spool.lost_refused
                if lost < 10 or lost % 1000 == 0:
                    log.error(
                        "no room for a CDR, the node keeps it for now: id=%s refused=%s so_far=%d",
                        name,
                        refused,
                        lost,
                    )
                return
            self.counts.cdrs += 1
            self.cdr_publisher.news.set()
        if acknowledge is not None:
            self._unsynced.append(acknowledge)

    def reject(self, reason: str) -> None:
        self.counts.bad += 1
        unlogged = self._bad_log.allows(time.monotonic())
        if unlogged is not None:
            log.warning(
                "ignored invalid input of the node: reason=%s unlogged=%d",
                printable(reason),
                unlogged,
            )

    def want_list(self) -> None:
        self._list_wanted.set()

    async def _read(self) -> None:
        """Read one connection to the node until it ends."""
        try:
            reason = await self.source.read(self)
        except (OSError, TimeoutError) as error:
            trouble = str(error) or type(error).__name__
            if trouble != self._source_trouble:
                log.warning(
                    "cannot read the node, trying again: address=%s reason=%s",
                    self.source.address,
                    trouble,
                )
            self._source_trouble = trouble
            return
        self._source_trouble = ""
        log.warning(
            "the connection to the node ended: address=%s reason=%s", self.source.address, reason
        )

    # -- callbacks of the NATS connection -----------------------------------------------------

    async def _begin(self, client: Client) -> None:
        await client.subscribe(RESYNC_PREFIX + ">", cb=self._on_resync)
        await client.flush()  # the server has the subscription: a request from now on is heard
        self._nats_errors.clear()
        self._lists.reset()
        self._list_wanted.set()
        self.cdr_publisher.news.set()

    def _on_error(self, error: Exception) -> None:
        if self.outbox.on_error(error) == SYNC_SUBJECT:
            self._lists.refused(later=True)
            self._list_wanted.set()
        text = str(error) or type(error).__name__
        if text not in self._nats_errors and len(self._nats_errors) < ERRORS_LOGGED:
            self._nats_errors.add(text)
            log.warning("NATS reported an error: error=%s", text)

    async def _on_resync(self, message: Msg) -> None:
        if message.subject.removeprefix(RESYNC_PREFIX) == self.source.node:
            self._list_wanted.set()

    async def _request_lists(self) -> None:
        """Ask the node for its list of dialogs when one is wanted, and every ``list_seconds``.
        Also for terminal events that it still keeps: those that found no room here before."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._list_seconds):
                    await self._list_wanted.wait()
            if not self.connection.connected:
                await asyncio.sleep(CONNECT_AGAIN_SECONDS / 5)
                continue
            self.source.request_kept()
            if not self.source.request_list():
                await asyncio.sleep(CONNECT_AGAIN_SECONDS / 5)
                continue
            self._list_wanted.clear()
            await self._lists.pause()

    # The node keeps a terminal event until the bridge acknowledges it. ``write`` survives a crash
    # of the bridge; only ``fsync`` survives a crash of the machine. So acknowledgements wait for
    # the next sync, once a second, and a power cut loses no CDR.
    async def _sync_spool(self) -> None:
        """Sync the spool once a second, and acknowledge to the node what is on the disk."""
        while True:
            await asyncio.sleep(FSYNC_SECONDS)
            kept, self._unsynced = self._unsynced, []
            if not kept and not self.spool.dirty:
                continue
            try:
                await asyncio.to_thread(self.spool.sync)
            except OSError as error:
                log.error("cannot write the spool to its disk: error=%s", error)
                self._unsynced = kept + self._unsynced
                with contextlib.suppress(OSError):  # the next round tries again
                    self.spool.recover()
                continue
            for acknowledge in kept:
                acknowledge()
