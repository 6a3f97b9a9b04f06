"""The last event of a stream, and when its client may come back."""

from __future__ import annotations

import random
from typing import Final

import orjson

from api.stream import sse
from livestate.fanout.frame import Frame
from livestate.fanout.subscriber import Goodbye

# How long a client waits before it comes back (ms, from and to). After a drain, one more
# millisecond for each stream there was, so that a thousand do not come in the same instant.
RETRY_MS: Final[dict[Goodbye | None, tuple[int, int]]] = {
    None: (1_000, 3_000), "drain": (500, 1_000), "rotation": (0, 500), "starting": (500, 1_500),
    "overload": (3_000, 6_000), "expired": (1_000, 3_000), "revoked": (1_000, 3_000),
    "stalled": (1_000, 3_000),
    "replaced": (1_000, 3_000),
}  # fmt: skip
SPREAD_MS: Final = 1_500  # at most: a page says another word than live for less than 2 s


def retry_ms(reason: Goodbye | None, streams: int = 0) -> int:
    """A random time for one client, whose stream ended for ``reason`` (None: it begins) while
    there were ``streams`` of them."""
    shortest, longest = RETRY_MS[reason]
    return random.randint(shortest, longest + (min(streams, SPREAD_MS) if reason == "drain" else 0))


def goodbye(reason: Goodbye, streams: int = 0) -> Frame:
    """The last event of a stream, and how long to wait before the next one."""
    # To a client, "replaced" is a rotation: it is sent on a stream that its client has left.
    written = "rotation" if reason == "replaced" else reason
    event = sse.event("goodbye", orjson.dumps({"reason": written}))
    return Frame(sse.retry(retry_ms(reason, streams)) + event)
