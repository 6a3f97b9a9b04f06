"""Who takes nothing any more: what a peer has yet to acknowledge, and for how long it is the same.

How full our side's pipe is says little of a slow reader. With a window smaller than a segment it
may take a hundred bytes a second, and for minutes nothing of ours moves; its acknowledgements do.
"""

from __future__ import annotations

import socket
import struct
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Hashable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

STALL_SECONDS: Final = 30.0  # a client that acknowledges nothing for so long is gone
# struct tcp_info of <linux/tcp.h>, which only ever grows: tcpi_unacked (segments),
# tcpi_bytes_acked, tcpi_segs_out, tcpi_notsent_bytes (Linux 4.6).
_TCP_INFO: Final = struct.Struct("=24xI92xQ8xI4xI")

Item = TypeVar("Item", bound=Hashable)


class Owed(NamedTuple):
    """Something is on its way to a peer, which has taken nothing since ``mark`` was first seen."""

    mark: int
    since: float


def owed(line: socket.socket | TransportSocket, pending: int) -> int | None:
    """A mark of what the peer of ``line`` has yet to acknowledge; None: nothing. ``pending`` bytes
    wait in this process. Where no kernel tells more (it is not Linux, or only claims to be), what
    the kernel took counts as taken."""
    if sys.platform == "linux":
        told = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        if len(told) == _TCP_INFO.size:
            unacked, acked, segments, not_sent = _TCP_INFO.unpack(told)
            if segments:
                return acked if unacked or not_sent or pending else None
    return pending or None


class Stalls(Generic[Item]):
    """Who owes, and since when the same."""

    def __init__(self) -> None:
        self._owed: dict[Item, Owed] = {}

    def __iter__(self) -> Iterator[Item]:
        return iter(self._owed)

    def stalled(self, item: Item, mark: int | None, now: float) -> bool:
        """Whether ``item``, which owes what ``mark`` says at ``now``, has taken nothing for too
        long. It counts from the first look that found it so."""
        known = self._owed.get(item)
        if mark is None:
            self.forget(item)
        elif known is None or known.mark != mark:
            self._owed[item] = Owed(mark, now)
        else:
            return now - known.since >= STALL_SECONDS
        return False

    def forget(self, item: Item) -> None:
        """Safe to call twice."""
        self._owed.pop(item, None)
