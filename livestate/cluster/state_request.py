"""Asks the engine for the state of a view and reads its parts, and for one call."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from livestate.cluster import wire
from livestate.cluster.replica import call_with_timeline
from livestate.cluster.wire import Head, Held
from livestate.nats.connection import AWAY, Connection
from livestate.nats.session import Session
from livestate.state.call import Call

log = logging.getLogger("livestate.cluster")

PART_SECONDS: Final = 2.0  # between two parts
CALL_SECONDS: Final = 2.0


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


async def ask_call(connection: Connection, key: str, company_id: str | None) -> Call | None:
    """One call with its timeline; None also where the engine does not answer."""
    request = wire.encode_call(key, company_id)

    async def ask(session: Session) -> Msg:
        return await session.request(wire.CALL, request, timeout=CALL_SECONDS)

    try:
        record = orjson.loads((await connection.use(ask)).data)
        return None if record is None else call_with_timeline(record)
    except (*AWAY, orjson.JSONDecodeError, KeyError, TypeError) as error:
        log.info("the engine gave no call: reason=%r", error)
        return None
