"""Subscribes to ``call.events.>`` on NATS and hands every message to the pipeline.

:mod:`api.service` runs one :class:`Consumer`; the monitor asks it to request lists
(``call.resync.<node>``), to publish ``lost`` events and to connect anew. It guarantees that
messages of one node are handled in the order they came, and that every message that is dropped on
the way is reported to ``on_dropped``. NATS keeps the order within one subscription only, so there
is one for all phases.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

import orjson
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from livestate.contract.events import SUBJECT_PREFIX
from livestate.ingest.backlog import Backlog, Handle, claimed_node
from livestate.nats.connection import AWAY, Connection
from livestate.nats.session import Session
from livestate.state.call import Call

log = logging.getLogger("livestate.consumer")

SUBJECT: Final = SUBJECT_PREFIX + ">"
LOST_SUBJECT: Final = SUBJECT_PREFIX + "lost"
REFUSED: Final = "permissions violation for subscription"  # text of nats-server
SLICE_SECONDS: Final = 0.005  # of work on messages between two looks at the loop's other work
# The backlog takes over after a message that took LONG_SECONDS, or when the last BEHIND_READS reads
# (of 32 KB) after a slice all left more behind.
LONG_SECONDS: Final = 0.002
BEHIND_READS: Final = 4


class Consumer:
    """Calls ``handle(subject, data, waited_ms)`` with each message; its connection is kept up.

    ``on_dropped(n, node)`` is called for messages that were dropped (``node`` is None where it is
    not known), ``on_reconnected()`` after each gap in the connection: messages published meanwhile
    were not received. Messages that come faster than they are handled wait in a :class:`Backlog`,
    sorted by ``node_of(subject, data)``.
    """

    def __init__(
        self,
        url: str,
        handle: Handle,
        on_dropped: Callable[[int, str | None], None],
        on_reconnected: Callable[[], None],
        *,
        credentials: str | None = None,
        inbox: str = "_INBOX",
        subjects: tuple[str, ...] = (SUBJECT,),
        node_of: Callable[[str, bytes], str] = lambda subject, data: claimed_node(data),
    ) -> None:
        self._subjects = subjects
        self.backlog = Backlog(handle, node_of, on_dropped)
        self.connection = Connection(
            url,
            "livestate",
            credentials=credentials,
            inbox=inbox,
            begin=self._begin,
            failed=self._on_error,
        )
        self._handle = handle
        self._on_reconnected = on_reconnected
        self._session: Session | None = None
        self._subscriptions: list[Subscription] = []
        self._refused = False  # the server refused the subscription
        self._subscribed_before = False
        self._spent = 0.0  # seconds on messages since the loop looked at its other work
        self.reconnects = 0
        self.errors = 0
        self.unpublished = 0  # ``lost`` events that the server refused

    @property
    def connected(self) -> bool:
        return self.connection.connected

    async def run(self) -> None:
        """Stay connected and subscribed until cancelled."""
        try:
            await self.connection.run()
        finally:
            self.backlog.clear()

    async def _begin(self, client: Session) -> None:
        self._session = client
        await self._subscribe(client)
        if self._subscribed_before:
            self.reconnects += 1
            self._on_reconnected()
        self._subscribed_before = True

    async def _subscribe(self, client: Session) -> bool:
        """Subscribe; False if the server refuses it."""
        self._refused = False
        self._subscriptions = [
            await client.subscribe_directly(subject, self._on_message) for subject in self._subjects
        ]
        await client.flush()  # the server sends a refusal before its PONG
        return not self._refused

    async def resubscribe(self) -> None:
        """Subscribe again if the server had refused it. nats-server tells a connection that it
        lost a right, but not that it got it back: only another attempt shows that."""
        if not self._refused or not self.connected:
            return
        with contextlib.suppress(*AWAY):
            for subscription in self._subscriptions:
                await subscription.unsubscribe()
            if await self._subscribe(self.connection.client):
                self.connection.missing_right = None
                self.reconnects += 1
                self._on_reconnected()

    def renew(self) -> None:
        """Replace the connection: it answers pings, but no message arrives on it."""
        log.warning("connected to NATS but no messages arrive: connecting again")
        self.connection.renew("no node was heard")

    async def publish_lost(self, call: Call, seq: int, epoch: int, now: int) -> None:
        """Publish that a call is lost. The call ends when this event comes back over NATS, here
        and on every other instance: an instance that is cut off ends no calls.

        ``seq`` and ``epoch``: the last number of the call's node. ``now`` is in ms."""
        event = {
            "v": 1,
            "phase": "lost",
            "node": call.node,
            "epoch": epoch,
            "seq": seq,
            "ts": now,
            "call_id": call.call_id,
            "dialog": call.dialog,
        }
        data = orjson.dumps(event)
        with contextlib.suppress(NatsError, OSError):
            try:
                await self.connection.client.publish(LOST_SUBJECT, data)
            except MaxPayloadError:
                # The monitor tries again every 2 s while the call is unconfirmed.
                self.unpublished += 1
                if self.unpublished < 10 or self.unpublished % 1000 == 0:
                    log.error(
                        "cannot publish a lost call: bytes=%d max_payload=%d",
                        len(data),
                        self.connection.client.max_payload,
                    )

    async def request_list(self, node: str) -> None:
        """Ask a node's bridge for its list (``sync``). Errors are ignored: the monitor asks again
        until the list arrives."""
        with contextlib.suppress(NatsError, OSError):
            await self.connection.client.publish(f"call.resync.{node}", b"")

    def _on_message(self, subject: str, data: bytes) -> bool:
        """Handle one message; whether the event loop shall have a turn before the next one."""
        began = time.perf_counter()
        if self.backlog.active:
            self.backlog.add(subject, data)
        else:
            self._handle(subject, data, 0)
        took = time.perf_counter() - began
        self._spent += took
        if took <= LONG_SECONDS and self._spent <= SLICE_SECONDS:
            return False
        if not self.backlog.active and (took > LONG_SECONDS or self._behind()):
            self.backlog.begin()  # sorts what waits by node, folds it round-robin
            return False
        self._spent = 0.0
        return True

    def _behind(self) -> bool:
        return self._session is not None and self._session.full_reads >= BEHIND_READS

    def _on_error(self, error: Exception) -> None:
        self.errors += 1
        text = str(error).lower()
        self._refused = self._refused or REFUSED in text
        self.unpublished += f'to "{LOST_SUBJECT}"' in text  # the server's refusal
        if not isinstance(error, NatsError | OSError):
            log.error("cannot handle a message: defect in livestate", exc_info=error)
        elif self.errors < 10 or self.errors % 100 == 0:
            log.warning("NATS reported an error: error=%s", error or type(error).__name__)
