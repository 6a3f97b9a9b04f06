"""Documents of an edge: it folds no call, so it asks its engine over NATS."""

from __future__ import annotations

import asyncio
import gzip
from typing import Final

import orjson
from nats.aio.msg import Msg

from api.panels.documents import NotAvailable
from livestate.cluster import wire
from livestate.nats.connection import AWAY, Connection
from livestate.nats.session import Session

ASK_SECONDS: Final = 3.0


async def ask_engine(connection: Connection, panel: str, company_id: str | None) -> bytes:
    """The JSON object of a panel. Raises :class:`~api.panels.documents.NotAvailable`."""
    request = wire.encode_panel(panel, company_id)

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
