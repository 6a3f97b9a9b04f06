"""An edge's subscriptions to the frames of its views, on the connection of the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from livestate.cluster import wire
from livestate.cluster.state_request import unsubscribe
from livestate.nats.connection import Connection, NotConnected


class ViewSubscriptions:
    """``on_frame`` is called with the company of a view and a message about it."""

    def __init__(
        self, connection: Connection, on_frame: Callable[[str | None, bytes], None]
    ) -> None:
        self._connection, self._on_frame = connection, on_frame
        self._subscriptions: dict[str | None, Subscription] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def clear(self) -> None:
        """Their connection has ended."""
        self._subscriptions.clear()

    async def add(self, company_id: str | None, client: Client | None = None) -> None:
        """Subscribe, on ``client`` where that is a new connection."""

        async def on_message(message: Msg) -> None:
            self._on_frame(company_id, message.data)

        try:
            client = client or self._connection.client
            subject = wire.FRAMES + wire.view_name(company_id)
            self._subscriptions[company_id] = await client.subscribe(subject, cb=on_message)
        except NotConnected:
            pass  # the next connection begins with it

    def remove(self, company_id: str | None) -> None:
        """Unsubscribe, without waiting for it."""
        subscription = self._subscriptions.pop(company_id, None)
        if subscription is not None:
            self._leaving.add(leaving := asyncio.create_task(unsubscribe(subscription)))
            leaving.add_done_callback(self._leaving.discard)
