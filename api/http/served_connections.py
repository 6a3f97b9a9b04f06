"""Bounds the connections that Hypercorn serves.

Each is 80 objects that the cycle collector walks, for 7 s after its last answer: 3,000 of them made
a full collection 200 ms long. So there are at most :data:`MOST`, and where one more comes the
connection that has been idle longest is closed, as nginx reuses its oldest connections
when ``worker_connections`` are used up. Clients repeat a request on a connection that was closed
while idle (RFC 9112 §9.3.1). Where none is idle, the oldest is closed: others are answered in
milliseconds, so it belongs to a client that sends or reads slowly.

Streams are not counted, also where Hypercorn serves them (HTTP/1.0, which nginx speaks unless told
otherwise): they have limits of their own.
"""

from __future__ import annotations

from typing import Final, Protocol

MOST: Final = 500


class Closable(Protocol):
    def drop(self) -> None:
        """Close the connection at once; what is not sent yet is lost."""


class ServedConnections:
    """Which connections Hypercorn serves, in the order they came, and which of them wait for a
    request, in the order they began to."""

    def __init__(self, most: int = MOST) -> None:
        self.dropped = 0  # since the start
        self._most = most
        self._idle: dict[Closable, None] = {}
        self._all: dict[Closable, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: Closable) -> None:
        """One more, which waits for the rest of its first request; another may be dropped."""
        if len(self._all) >= self._most:
            oldest = next(iter(self._idle or self._all))
            self.remove(oldest)
            self.dropped += 1
            oldest.drop()
        self._all[connection] = self._idle[connection] = None

    def idle(self, connection: Closable) -> None:
        """It was answered."""
        self._idle.pop(connection, None)
        self._all[connection] = self._idle[connection] = None

    def busy(self, connection: Closable) -> None:
        """It has sent a whole head."""
        self._idle.pop(connection, None)

    def remove(self, connection: Closable) -> None:
        """It is closed, or a stream."""
        self._all.pop(connection, None)
        self._idle.pop(connection, None)
