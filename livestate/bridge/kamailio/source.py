"""Connects to one Kamailio: reads its evapi frames, asks for lists, acknowledges terminal events.

The relay uses :class:`KamailioSource` through :class:`~livestate.bridge.source.Source`. The other
side is ``deploy/kamailio/livestate.cfg``: it numbers its events, repeats the last number in
heartbeats, answers ``dlg.list`` between two marks, and keeps each terminal event in an ``htable``
until the bridge deletes it. So a call that ended while no bridge was connected is reported later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import orjson

from livestate.bridge.kamailio.answers import decoded, dialogs_in, is_list
from livestate.bridge.kamailio.evapi import SILENT_SECONDS, EvapiClient
from livestate.bridge.kamailio.fields import dropped_ends
from livestate.bridge.kamailio.kept_ends import kept_ends
from livestate.bridge.kamailio.translation import BadFrame, KamailioFeed
from livestate.bridge.source import Receiver
from livestate.contract.messages import Message, has_cdr

log = logging.getLogger("livestate.bridge")

CONNECT_SECONDS: Final = 3.0
FRAMES_AT_ONCE: Final = 50  # frames, or rows of an answer, between two reads of the socket: 2 ms
LOG_DROPPED_SECONDS: Final = 60.0
KEPT: Final = "livestate_ends"
LIST: Final = b'{"jsonrpc":"2.0","method":"dlg.list","id":"livestate-list"}'
# The tables in which the node keeps terminal events, each with the field of an event that names its
# row there. Old configurations have the first table only.
KEPT_IN: Final = {
    KEPT: "kept",
    "livestate_failed": "kept_failed",
    "livestate_refused": "kept_refused",
}
_DUMP: Final = b'{"jsonrpc":"2.0","method":"htable.dump","params":["%b"],"id":"livestate-%b"}'
ENDS: Final = _DUMP % (KEPT.encode(), b"ends")
MORE_ENDS: Final = {
    table: _DUMP % (table.encode(), table.encode()) for table in KEPT_IN if table != KEPT
}
_DUMPED: Final = {"livestate-ends": KEPT} | {f"livestate-{table}": table for table in MORE_ENDS}


class KamailioSource:
    """Implements :class:`~livestate.bridge.source.Source` for one Kamailio at (host, port)."""

    def __init__(self, host: str, port: int) -> None:
        self.address = f"evapi at {host}:{port}"
        self.node: str | None = None
        self.connections = 0
        self.dropped_ends = 0
        self.defects = 0  # frames that raised an unexpected exception
        self._host = host
        self._port = port
        self._client: EvapiClient | None = None
        self._logged_dropped = 0
        self._log_dropped_at = 0.0

    async def read(self, receiver: Receiver) -> str:
        async with asyncio.timeout(CONNECT_SECONDS):
            client = await EvapiClient.connect(self._host, self._port)
        self._client = client
        self.connections += 1
        log.info("connected to Kamailio: address=%s", self.address)
        self.request_kept()  # these can be stored while NATS is away, a list cannot
        receiver.want_list()
        feed = KamailioFeed(receiver.reject)
        loop = asyncio.get_running_loop()
        dropped = 0
        try:
            while not client.closed.done() or client.news.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await client.news.wait()
                frames = client.frames(FRAMES_AT_ONCE)
                for frame in frames:
                    await self._handle(client, feed, frame, receiver)
                if not frames and client.closed.done():
                    break
                if loop.time() - client.last_seen_at > SILENT_SECONDS:
                    client.close(f"silent for {SILENT_SECONDS:.0f} s")
                if client.dropped > dropped:
                    dropped = client.dropped
                    receiver.want_list()
                await asyncio.sleep(0)  # lets the loop read the socket
        finally:
            self._client = None
            client.close()
        return client.closed.result()

    def request_list(self) -> bool:
        if self._client is None:
            return False
        self._client.ask(LIST)
        return True

    def request_kept(self) -> None:
        if self._client is not None:
            for question in (ENDS, *MORE_ENDS.values()):
                self._client.ask(question)

    async def _handle(
        self, client: EvapiClient, feed: KamailioFeed, raw: bytes, receiver: Receiver
    ) -> None:
        try:
            if is_list(raw):
                for number, _ in enumerate(feed.answer(dialogs_in(raw)), 1):
                    if number % FRAMES_AT_ONCE == 0:
                        await asyncio.sleep(0)  # lets the loop read the socket
                return
            frame = decoded(raw)
            table = _DUMPED.get(str(frame.get("id"))) if isinstance(frame, dict) else None
            if table is not None:
                if table == KEPT or "error" not in frame:  # an old configuration lacks the others
                    await self._handle_kept(client, table, frame, receiver)
                return
            for outgoing in feed.feed(frame):
                self.node = outgoing.message["node"]
                if outgoing.message["phase"] == "heartbeat":
                    self._count_dropped(dropped_ends(frame))
                if has_cdr(outgoing.message):
                    receiver.keep(outgoing.message, _acknowledgement(client, frame))
                await receiver.publish(outgoing)
        except (BadFrame, ValueError, RecursionError) as error:
            receiver.reject(f"{error}"[:400])
        except Exception as error:  # a defect costs one frame, the bridge goes on
            self.defects += 1
            log.exception("cannot handle a frame: error=%s", type(error).__name__)
            receiver.reject(f"{type(error).__name__} at a frame of {len(raw)} bytes")

    def _count_dropped(self, dropped: dict[str, int]) -> None:
        """Log a count that has grown, at most once a minute. Kamailio counts from its start."""
        self.dropped_ends = sum(dropped.values())
        self._logged_dropped = min(self._logged_dropped, self.dropped_ends)
        now = asyncio.get_running_loop().time()
        if self.dropped_ends == self._logged_dropped or now < self._log_dropped_at:
            return
        self._logged_dropped, self._log_dropped_at = self.dropped_ends, now + LOG_DROPPED_SECONDS
        counts = " ".join(f"{kind}={count}" for kind, count in dropped.items())
        log.error(
            "Kamailio deleted ends of calls before a bridge stored them, they have no CDR: "
            "node=%s %s",
            self.node,
            counts,
        )

    async def _handle_kept(
        self, client: EvapiClient, table: str, answer: Message, receiver: Receiver
    ) -> None:
        """Store terminal events that Kamailio kept. They are not published: a list follows."""
        for number, (name, value) in enumerate(kept_ends(answer, receiver.reject), 1):
            if number % FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)  # a node may keep 8,000 rows
            try:
                messages = KamailioFeed().feed(decoded(value.encode("utf-8", "replace")))
            except (BadFrame, ValueError, RecursionError) as error:
                receiver.reject(f"the kept end {name[:80]!r}: {error}"[:400])
                continue
            for outgoing in messages:
                acknowledge = partial(_delete_kept, client, table, name)
                if has_cdr(outgoing.message):
                    receiver.keep(outgoing.message, acknowledge)
                elif outgoing.message["phase"] in ("ended", "failed"):
                    acknowledge()
                else:
                    receiver.reject(f"the kept end {name[:80]!r} is no end of a call")


def _acknowledgement(client: EvapiClient, frame: Message) -> Callable[[], None] | None:
    """A callback that deletes the row in which Kamailio keeps this event; None if there is none."""
    for table, field in KEPT_IN.items():
        if kept := str(frame.get(field, "")):
            return partial(_delete_kept, client, table, kept)
    return None


def _delete_kept(client: EvapiClient, table: str, kept: str) -> None:
    """Delete one row, on the connection by which it came: after a restart of Kamailio the same key
    is another call's, and a closed connection sends nothing."""
    request = {
        "jsonrpc": "2.0",
        "method": "htable.delete",
        "id": "livestate-kept",
        "params": [table, kept],
    }
    client.ask(orjson.dumps(request))
