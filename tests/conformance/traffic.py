"""Calls of two companies that change all the time, as a conformance run needs them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from tests.harness import Node, now_ms

PAUSE_SECONDS = 0.05


@contextlib.asynccontextmanager
async def traffic(node: Node, companies: tuple[str, ...]) -> AsyncIterator[None]:
    """Set up, answer and end calls until the block is left; five a company stay up."""

    over = asyncio.Event()

    async def talk() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            for company in companies:
                dialog = f"{company}-{number}"
                await node.call(dialog, "ringing", company_id=company)
                await node.say("answered", dialog, company_id=company, answered_at=now_ms())
                if number >= 5:
                    await node.say("ended", f"{company}-{number - 5}", company_id=company,
                                   outcome="answered", by="caller", ended_at=now_ms())  # fmt: skip
            await asyncio.sleep(PAUSE_SECONDS)

    talking = asyncio.create_task(talk())
    try:
        yield
    finally:
        over.set()  # cancelled in a flush, nats-py would complain
        await talking
