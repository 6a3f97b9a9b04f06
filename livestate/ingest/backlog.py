"""Queues messages per node while they come faster than they can be folded.

The consumer adds messages here while it is behind. NATS delivers one stream of messages for all
nodes. While the fold keeps up, they are folded in the order they come. But a list of 300,000
dialogs takes seconds to fold, and everything behind it in the stream would wait as long. So the
:class:`Backlog` has a queue for each node and serves them round-robin, one message each: another
node's event then waits for one part of the list instead of all of it.

The order within a node is kept. NATS guarantees no more between different publishers, and the fold
needs no more: sequence numbers are per node. How long a message has waited is handed on with it,
because a node's clock is judged by when its message arrived.

The backlog is bounded. When it is full, it drops a message if its node already has more than an
equal share, so a node that floods loses its own messages. A drop is a loss like any other: the
node's numbers show it, and its next list repairs it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from livestate.contract.events import BATCH_SUBJECT

# ``handle(subject, data, waited_ms)`` folds one message that arrived ``waited_ms`` ago.
Handle: TypeAlias = Callable[[str, bytes, int], None]

MAX_BYTES: Final = 128 * 1024 * 1024
MAX_MESSAGES: Final = 200_000
ROUND_SECONDS: Final = 0.005
# What still waits in the socket is not sorted by node yet. One round of the event loop reads 128 KB
# of it and one part of a list takes 10 ms to fold, so up to 8 rounds only read.
ROUNDS_READ_FIRST: Final = 8
_MESSAGE_BYTES: Final = 200  # of memory for each message beside its data
_NODE_FIELD: Final = re.compile(rb'"node"\s*:\s*"([^"\\]{1,253})"')
_NODE_WITHIN: Final = 4_096  # bytes; a bridge writes the envelope first


def claimed_node(data: bytes) -> str:
    """The node that a message claims to be from, found without parsing it; "" if there is none."""
    found = _NODE_FIELD.search(data, 0, _NODE_WITHIN)
    return "" if found is None else found[1].decode("utf-8", "replace")


def sender(data: bytes, vouched: str | None) -> str:
    """The node of a message that was not or cannot be parsed; "" if that cannot be read.

    ``vouched`` is the node by the message's subject, where the server vouches for it. A subject
    has ``_`` for each dot of a name: where both agree, the claim is the full name.
    """
    claimed = claimed_node(data)
    return claimed if vouched in (None, claimed.replace(".", "_")) else str(vouched)


def events_in(subject: str, data: bytes) -> int:
    """How many events a message has, found without parsing it: drops are counted by event."""
    return max(1, data.count(b'"call_id":')) if subject.endswith(BATCH_SUBJECT) else 1


class _Queue:
    """What waits of one node."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages: deque[tuple[str, bytes, float]] = deque()  # with when it came, in s
        self.bytes = 0


class Backlog:
    """Calls ``handle(subject, data, waited_ms)`` in later rounds of the event loop, round-robin by
    node.

    ``node_of(subject, data)`` returns the node of a message. ``on_dropped(events, node)`` is called
    for each message that did not fit into ``max_bytes`` and ``max_messages``. ``clock`` is in
    seconds.
    """

    def __init__(
        self,
        handle: Handle,
        node_of: Callable[[str, bytes], str],
        on_dropped: Callable[[int, str | None], None],
        *,
        clock: Callable[[], float] = time.perf_counter,
        max_bytes: int = MAX_BYTES,
        max_messages: int = MAX_MESSAGES,
    ) -> None:
        self.active = False  # while true, the consumer adds messages here
        self.messages = 0
        self.bytes = 0
        self._handle = handle
        self._node_of = node_of
        self._on_dropped = on_dropped
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._queues: dict[str, _Queue] = {}  # by node; none is empty
        self._turns: deque[str] = deque()  # nodes with messages, the next to be served first
        self._arrived = False  # a message, since the last round
        self._rounds_read = 0
        self._held = False

    def hold(self) -> None:
        """Take messages from now on and fold none of them before ``release``."""
        self.active = self._held = True

    def release(self) -> None:
        """Fold what has waited since ``hold``."""
        self._held = False
        if self.active:
            self._schedule()

    def begin(self) -> None:
        """Take messages from now on; ends by itself when all queues are empty."""
        if not self.active:
            self.active = True
            self._schedule()

    def add(self, subject: str, data: bytes) -> None:
        """Queue one message behind those of its node, or drop it."""
        self._arrived = True
        node = self._node_of(subject, data)
        size = len(data) + _MESSAGE_BYTES
        queue = self._queues.get(node)
        full = self.bytes + size > self._max_bytes or self.messages >= self._max_messages
        if full and self._exceeds_share(node, size):
            self._on_dropped(events_in(subject, data), node)
            return
        if queue is None:
            queue = self._queues[node] = _Queue()
            self._turns.append(node)
        queue.messages.append((subject, data, self._clock()))
        queue.bytes += size
        self.bytes += size
        self.messages += 1

    def clear(self) -> None:
        """Drop all messages: the consumer has stopped."""
        self.active = False
        self.messages = self.bytes = 0
        self._queues.clear()
        self._turns.clear()

    # An equal share is the bound divided by the number of nodes, the new one included. A node
    # below its share may add even when the backlog is full, so a quiet node loses nothing to a
    # loud one. All shares together are the bound once more: at most twice the bound is held.
    def _exceeds_share(self, node: str, size: int) -> bool:
        queue = self._queues.get(node)
        messages, waiting = (0, 0) if queue is None else (len(queue.messages), queue.bytes)
        nodes = len(self._queues) + 1
        return (waiting + size) * nodes > self._max_bytes or (
            (messages + 1) * nodes > self._max_messages
        )

    def _schedule(self) -> None:
        # call_soon would run the next round before the loop reads its sockets.
        asyncio.get_running_loop().call_later(0, self._round)

    def _round(self) -> None:
        """Fold for ``ROUND_SECONDS``, one message of each node at a time."""
        if not self.active or self._held:
            return
        if self._arrived and self._rounds_read < ROUNDS_READ_FIRST:
            self._arrived = False
            self._rounds_read += 1
            self._schedule()
            return
        self._rounds_read = 0
        clock = self._clock
        now = clock()
        until = now + ROUND_SECONDS
        turns, queues, handle = self._turns, self._queues, self._handle
        try:
            while turns:
                node = turns.popleft()
                queue = queues[node]
                subject, data, came = queue.messages.popleft()
                size = len(data) + _MESSAGE_BYTES
                self.bytes -= size
                self.messages -= 1
                if queue.messages:
                    queue.bytes -= size
                    turns.append(node)
                else:
                    del queues[node]
                handle(subject, data, int((now - came) * 1_000))
                now = clock()
                if now >= until:
                    break
        finally:
            self.active = bool(turns)
            if self.active:  # also after ``handle`` raised: the other messages are folded
                self._schedule()
