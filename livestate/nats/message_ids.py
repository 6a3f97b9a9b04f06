"""Reads which message ids a stream of CDRs has, up to its end at that moment.

The CDR publisher searches with it for CDRs that may be stored already: JetStream finds messages by
number, time and subject, but not by id. Whole messages are read, because nats-server 2.15 panics
(``convertToHeadersOnly``) where a consumer asks for headers only and a stored header has one byte.
The consumer has no acknowledgements and lives in the server's memory, so nothing of it remains.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from livestate.contract.events import CDR_SUBJECT
from livestate.nats.connection import AWAY
from livestate.nats.jetstream import STREAM, covers

MESSAGE_ID: Final = "Nats-Msg-Id"
BATCH: Final = 250  # messages: about 5 ms of the loop, 0.2 MB
ALL: Final = ">"
SECONDS: Final = 5.0  # timeout of a batch


def stored_as(subjects: Iterable[str], node: str) -> str:
    """The subject under which a stream with these ``subjects`` stores a node's CDRs.

    ``nodes.<node>.cdr.raw`` where nats-server adds the node, ``cdr.raw`` elsewhere. The request for
    a consumer carries this subject, and nats-server compares both: so it can allow each bridge to
    read the CDRs of its own node only (deploy/nats-vouched.conf). A stream with other subjects is
    read whole.
    """
    known = tuple(subjects)
    own = f".{node.replace('.', '_')}.{CDR_SUBJECT}"  # see livestate.contract.subjects
    for pattern in known:
        if node and pattern.endswith((f".*.{CDR_SUBJECT}", own)):
            return pattern.removesuffix(f".*.{CDR_SUBJECT}").removesuffix(own) + own
    return CDR_SUBJECT if any(covers(one, CDR_SUBJECT) for one in known) else ALL


async def ids_since(
    streams: JetStreamContext, since: int | None, subject: str = CDR_SUBJECT
) -> AsyncIterator[list[str]]:
    """The ids of the messages stored under ``subject`` since then (ms; None: all), in batches, the
    oldest first, up to the end of the stream at the first call.

    Raises what nats-py raises if NATS goes away, and NotFoundError without a stream: a server that
    was restarted may not have loaded its streams yet, so a missing stream does not count as empty.
    """
    begin: dict[str, Any] = {"deliver_policy": DeliverPolicy.ALL}
    if since is not None:
        at = datetime.fromtimestamp(max(since, 0) / 1000, UTC)
        begin = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": at.isoformat()}
    consumer = await streams.pull_subscribe(
        subject,
        stream=STREAM,
        config=ConsumerConfig(
            ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=30.0, **begin
        ),
    )
    try:
        left = (await consumer.consumer_info()).num_pending or 0
        while left > 0:
            try:
                messages = await consumer.fetch(min(left, BATCH), timeout=SECONDS)
            except TimeoutError:
                if (await consumer.consumer_info()).num_pending:
                    raise
                return  # the stream dropped its oldest messages meanwhile
            left = min(left - len(messages), messages[-1].metadata.num_pending)
            yield [(message.headers or {}).get(MESSAGE_ID, "") for message in messages]
            await asyncio.sleep(0)
    finally:
        with contextlib.suppress(*AWAY):
            await consumer.unsubscribe()
