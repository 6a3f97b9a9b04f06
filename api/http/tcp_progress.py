"""TCP progress: finds clients that no longer acknowledge anything.

A slow client must stay connected; a client that is gone or stuck must not. The fill of our write
buffer does not distinguish them: through a window smaller than a segment a client may read
a hundred bytes a second, and for minutes none of our buffered bytes moves. What moves is the
peer's acknowledgement counter, which Linux shows in ``TCP_INFO``: ``tcpi_bytes_acked`` grows with
every byte that the peer's kernel has taken.

So the service checks each stream every few seconds. If something is unacknowledged, the counter
is the *mark*. The same mark for :data:`STALL_SECONDS` means no progress at all, and the client is
cut. Nothing unacknowledged, or another mark, starts anew.
"""

from __future__ import annotations

import fcntl
import heapq
import socket
import struct
import sys
import termios
from asyncio.trsock import TransportSocket
from collections.abc import Hashable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

STALL_SECONDS: Final = 30.0  # a client that acknowledges nothing for so long is gone
# struct tcp_info of <linux/tcp.h>, which only ever grows: tcpi_unacked (segments),
# tcpi_bytes_acked, tcpi_segs_out, tcpi_notsent_bytes (Linux 4.6).
_TCP_INFO: Final = struct.Struct("=24xI92xQ8xI4xI")

Item = TypeVar("Item", bound=Hashable)


class Unacknowledged(NamedTuple):
    """Something is on its way to a peer, which has taken nothing since ``mark`` was first seen."""

    mark: int
    since: float


def unacknowledged(line: socket.socket | TransportSocket, pending: int) -> int | None:
    """A mark of what the peer of ``line`` has yet to acknowledge; None: nothing. ``pending`` bytes
    wait in this process. Where the kernel has no counters (a unix socket, a system that is not
    Linux, or only claims to be), what the kernel took counts as taken."""
    if sys.platform == "linux" and line.family != socket.AF_UNIX:
        info = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        if len(info) == _TCP_INFO.size:
            unacked, acked, segments, not_sent = _TCP_INFO.unpack(info)
            if segments:
                return acked if unacked or not_sent or pending else None
    return pending or None


def unsent_bytes(line: socket.socket | TransportSocket) -> int:
    """Bytes that the kernel has taken and the peer of ``line`` has not acknowledged. 0 where the
    kernel does not say."""
    try:
        answer = fcntl.ioctl(line.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


class Stalls(Generic[Item]):
    """The clients with unacknowledged data, and when each last made progress."""

    def __init__(self) -> None:
        self._pending: dict[Item, Unacknowledged] = {}

    def __iter__(self) -> Iterator[Item]:
        return iter(self._pending)

    def stalled(self, item: Item, mark: int | None, now: float) -> bool:
        """Whether ``item``, whose mark is ``mark`` at ``now``, has made no progress for
        :data:`STALL_SECONDS`. The time counts from the first look that saw this mark."""
        known = self._pending.get(item)
        if mark is None:
            self.forget(item)
        elif known is None or known.mark != mark:
            self._pending[item] = Unacknowledged(mark, now)
        else:
            return now - known.since >= STALL_SECONDS
        return False

    def longest(self, most: int) -> list[tuple[Item, Unacknowledged]]:
        """Those without progress for longest, as far as was looked at."""
        return heapq.nsmallest(most, self._pending.items(), key=lambda one: one[1].since)

    def forget(self, item: Item) -> None:
        """Safe to call twice."""
        self._pending.pop(item, None)
