"""Which clients are slow: for ``/statusz``, and for administrators on the page.

A client is behind while a write to it has not left this process, or while its kernel has
acknowledged nothing of what is on its way. Both are ordinary for milliseconds. A slow client
delays no other client (:mod:`livestate.fanout.subscriber`); this says who sees old calls.
"""

from __future__ import annotations

import asyncio
from heapq import nlargest
from typing import Any, Final

from api.stream.registry import StreamRegistry

SHOWN: Final = 10


def slow_clients(streams: StreamRegistry) -> list[dict[str, Any]]:
    """The clients that have been behind for longest, the worst first, for JSON.

    ``lag_versions`` is how many versions of its view a client has not been sent; None while it
    waits for its first state. ``lag_ms`` is since when it is behind, ``lag_bytes`` what is on its
    way to it.
    """
    now = asyncio.get_running_loop().time()
    behind = streams.behind()
    worst = nlargest(SHOWN, behind.items(), key=lambda one: now - one[1][1])
    return [
        {
            "subject": entry.identity.subject,
            "role": entry.identity.role,
            "company_id": entry.scope.company_id,
            "filtered": entry.scope.filtered,
            "address": entry.client,
            "open_ms": int((now - entry.opened_at) * 1000),
            "lag_versions": None
            if subscriber.cursor is None
            else max(subscriber.distributor.source.version - subscriber.cursor, 0),
            "lag_ms": int((now - since) * 1000),
            "lag_bytes": entry.outlet.unsent,
        }
        for subscriber, (entry, since) in worst
    ]
