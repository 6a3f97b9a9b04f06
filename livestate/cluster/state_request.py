"""Asks the engine for the state of a view, and reads its parts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from livestate.cluster import wire
from livestate.cluster.wire import Head, Held

PART_SECONDS: Final = 2.0  # between two parts


async def parts(
    client: Client, company_id: str | None, held: Held | None
) -> AsyncGenerator[tuple[Head, bytes]]:
    """Head and body of all that comes as an answer; the caller stops at the last part. Raises what
    the NATS client raises, and :class:`~livestate.cluster.wire.Unreadable`."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    try:
        subject = wire.VIEW + wire.view_name(company_id)
        await client.publish(subject, wire.encode_scope(company_id, held), reply=inbox)
        while True:
            message = await subscription.next_msg(timeout=PART_SECONDS)
            yield wire.decode(message.data)
    finally:
        await unsubscribe(subscription)


async def unsubscribe(subscription: Subscription) -> None:
    with contextlib.suppress(NatsError, OSError):
        await subscription.unsubscribe()
