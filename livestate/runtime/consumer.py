"""NATS: one ordered subscription to ``call.events.>``, and the question ``call.resync.<node>``.

Order holds within one subscription only, so it is one for all phases. Ours is not: what a message
means (:mod:`livestate.runtime.pipeline`), and whether the feed can be believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from livestate.call import Call
from livestate.events import SUBJECT_PREFIX
from livestate.runtime.ending import end

log = logging.getLogger("livestate.consumer")

SUBJECT: Final = SUBJECT_PREFIX + ">"
LOST_SUBJECT: Final = SUBJECT_PREFIX + "lost"
# nats-py drops what does not fit. 200,000 messages are a stall of 5 s at 40,000 a second.
PENDING_MESSAGES: Final = 200_000
PENDING_BYTES: Final = 256 * 1024 * 1024
REFUSED: Final = "permissions violation for subscription"  # nats-server's words
CLOSE_SECONDS: Final = 2.0  # a half-open peer does not answer the last flush


class Consumer:
    """A connection that never gives up, and hands every message to ``take(subject, data)``.

    ``take`` is a plain call. ``dropped(n)`` is told of messages that the client had to drop,
    ``reconnected()`` that what was said in between was not heard.
    """

    def __init__(
        self,
        url: str,
        take: Callable[[str, bytes], None],
        dropped: Callable[[int], None],
        reconnected: Callable[[], None],
        *,
        credentials: str | None = None,
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._take = take
        self._dropped = dropped
        self._reconnected = reconnected
        self._client = Client()
        self._subscription: Subscription | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._refused = False  # the server does not let us listen
        self.reconnects = 0
        self.errors = 0

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    async def start(self) -> None:
        """Connect and subscribe; keeps trying for as long as it takes."""
        await self._client.connect(
            self._url,
            name="livestate",
            user_credentials=self._credentials,
            # The library's own patience ends after 60 attempts, and it needs six minutes to
            # notice a half-open peer.
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,  # type: ignore[arg-type]  # seconds; it only sleeps them
            connect_timeout=2,
            ping_interval=3,
            max_outstanding_pings=2,
            allow_reconnect=True,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
        )
        await self._listen()

    async def _listen(self) -> bool:
        """Whether we may."""
        self._refused = False
        self._subscription = await self._client.subscribe(
            SUBJECT,
            cb=self._on_message,
            pending_msgs_limit=PENDING_MESSAGES,
            pending_bytes_limit=PENDING_BYTES,
        )
        await self._client.flush()  # a refusal comes before its answer
        return not self._refused

    async def listen_again(self) -> None:
        """Where the right to listen was taken from us, ask for it anew: the connection stays, and
        only this shows that we have it again."""
        if not self._refused or not self.connected:
            return
        with contextlib.suppress(NatsError, asyncio.TimeoutError, OSError):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            if await self._listen():
                await self._on_reconnect()

    async def stop(self) -> None:
        if self._renewing is not None:
            await end(self._renewing)
        with contextlib.suppress(NatsError, asyncio.TimeoutError, OSError):
            await asyncio.wait_for(self._client.close(), CLOSE_SECONDS)

    def renew(self) -> None:
        """Begin a new connection: this one says that it is well, but nothing comes."""
        if self._renewing is None or self._renewing.done():
            log.warning("connected to NATS, but no node is heard: connecting anew")
            self._renewing = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        before, self._client = self._client, Client()
        with contextlib.suppress(NatsError, asyncio.TimeoutError, OSError):
            await asyncio.wait_for(before.close(), CLOSE_SECONDS)
        await self.start()
        await self._on_reconnect()

    async def give_up(self, call: Call, seq: int, epoch: int, now: int) -> None:
        """Say that a call is lost. It is, once this comes back to us: who is cut off or deaf
        decides nothing."""
        told = {"v": 1, "phase": "lost", "node": call.node, "epoch": epoch, "seq": seq, "ts": now,
                "call_id": call.call_id, "dialog": call.dialog}  # fmt: skip
        with contextlib.suppress(NatsError, OSError):
            await self._client.publish(LOST_SUBJECT, orjson.dumps(told))

    async def ask_for_list(self, node: str) -> None:
        """Ask a node's bridge for a ``sync``. Nothing is lost if nobody listens: we ask again."""
        with contextlib.suppress(NatsError, OSError):
            await self._client.publish(f"call.resync.{node}", b"")

    async def _on_message(self, message: Msg) -> None:
        self._take(message.subject, message.data)

    # An exception in error_cb ends nats-py's read loop: connected, but deaf. So these only count
    # and log.
    async def _on_error(self, error: Exception) -> None:
        self.errors += 1
        self._refused = self._refused or REFUSED in str(error).lower()
        if isinstance(error, SlowConsumerError):
            self._dropped(1)
        elif not isinstance(error, NatsError | OSError):
            log.error("a message could not be taken: a defect of ours", exc_info=error)
        elif self.errors < 10 or self.errors % 100 == 0:
            log.warning("NATS: %s", error or type(error).__name__)

    async def _on_disconnect(self) -> None:
        log.warning("NATS connection lost; reconnecting")

    async def _on_reconnect(self) -> None:
        self.reconnects += 1
        self._reconnected()
        log.info("NATS connection is back")
