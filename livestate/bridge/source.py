"""The interface between the relay and a SIP node, whatever software the node runs.

A source is one folder beside this file (today: ``kamailio/``). It speaks the node's own protocol
and produces messages of the contract (:mod:`livestate.contract.events`); it does not know NATS or
the spool. The other side, :class:`Receiver`, is the relay (:mod:`livestate.bridge.relay`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from livestate.contract.messages import Message, Outgoing


class Receiver(Protocol):
    """Takes a source's messages. No method raises."""

    async def publish(self, outgoing: Outgoing) -> None:
        """Publish one message now. While NATS is away it is dropped and counted: the list that
        follows its return says what is true then."""

    def keep(self, cdr: Message, acknowledge: Callable[[], None] | None) -> None:
        """Store the terminal event of a call on disk as its CDR. The same CDR may come again.

        ``acknowledge`` is called when the CDR is synced to the disk, so that the node can delete
        its own copy; None if the node keeps none. It is not called if there was no room.
        """

    def reject(self, reason: str) -> None:
        """Count one invalid piece of input and log it at a bounded rate."""

    def want_list(self) -> None:
        """Ask for a list as soon as it can be published: the source has lost something."""


class Source(Protocol):
    """One SIP node. ``address`` is for logs, ``node`` the name that the node reports,
    ``connections`` counts connections so far, ``dropped_ends`` terminal events that the node
    reports as deleted before they were acknowledged."""

    address: str
    node: str | None
    connections: int
    dropped_ends: int

    async def read(self, receiver: Receiver) -> str:
        """Connect, hand over everything until the connection ends, and return why it ended.

        Raises OSError or TimeoutError if there was no connection. Must keep reading whatever the
        receiver does: a node may stall all SIP traffic while its client does not read.
        """

    def request_list(self) -> bool:
        """Ask the node for its full list of dialogs; False without a connection. The list arrives
        at :meth:`Receiver.publish` as ``sync`` messages."""

    def request_kept(self) -> None:
        """Ask the node for the terminal events that are not acknowledged; they arrive at
        :meth:`Receiver.keep`. Does nothing for a node that keeps none."""
