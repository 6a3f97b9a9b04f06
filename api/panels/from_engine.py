"""Documents of an edge: it folds no call, so it asks its engine over NATS; and how that answers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from nats.aio.msg import Msg

from api.panels.documents import NotAvailable, Wanted
from livestate.cluster import wire
from livestate.nats.connection import AWAY, Connection
from livestate.nats.session import Session

ASK_SECONDS: Final = 3.0


async def ask_engine(connection: Connection, panel: str, wanted: Wanted) -> bytes:
    """The JSON object of a panel. Raises :class:`~api.panels.documents.NotAvailable`."""
    return await _ask(connection, wire.encode_panel(panel, **wanted._asdict()))


async def acknowledge_at_engine(
    connection: Connection, company_id: str | None, alarm: str, by: str
) -> bool:
    """Acknowledge an alarm of a company (None: of all calls) at the engine, which keeps it; False
    if there is no such alarm. Raises :class:`~api.panels.documents.NotAvailable`."""
    request = wire.encode_panel("acknowledge", company_id, alarm=alarm, by=by)
    return orjson.loads(await _ask(connection, request)).get("acknowledged") is True


async def _ask(connection: Connection, request: bytes) -> bytes:

    async def ask(session: Session) -> Msg:
        return await session.request(wire.CALL, request, timeout=ASK_SECONDS)

    try:
        reply = (await connection.use(ask)).data
        if reply == b"null":
            raise NotAvailable("The engine is of an earlier version and has no such panel.")
        document = await asyncio.to_thread(gzip.decompress, reply)
        if not isinstance(orjson.loads(document), dict):
            raise NotAvailable("The engine's answer cannot be read.")
    except AWAY as error:
        raise NotAvailable("The engine does not answer now.") from error
    except (OSError, EOFError, orjson.JSONDecodeError) as error:
        raise NotAvailable("The engine's answer cannot be read.") from error
    return document


def acknowledged_for_edges(
    acknowledge: Callable[[str | None, str, str], Awaitable[bool]],
) -> Callable[[wire.PanelRequest], Awaitable[bytes]]:
    """How an engine acknowledges an alarm for an edge."""

    async def answer(asked: wire.PanelRequest) -> bytes:
        done = await acknowledge(asked.company_id, asked.alarm or "", asked.by or "")
        return orjson.dumps({"acknowledged": done})

    return answer


def for_edges(
    make: Callable[[Wanted], Awaitable[bytes]],
) -> Callable[[wire.PanelRequest], Awaitable[bytes]]:
    """How an engine makes a document that an edge asks for."""

    async def answer(asked: wire.PanelRequest) -> bytes:
        return await make(Wanted(asked.company_id, asked.trunks, asked.code))

    return answer
