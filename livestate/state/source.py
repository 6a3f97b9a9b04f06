"""The state of the feed, as heartbeats of streams and ``/statusz`` report it.

The feed monitor (:mod:`livestate.ingest.monitor`) judges it twice a second, the fan-out tells every
client when it changes. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from livestate.state.nodes.trouble import Trouble

# no_node: no node was heard since the start. silent: no feed, or a node does not speak.
# lists: a node speaks, but its lists of dialogs are
# refused or incomplete, so it is unknown which of its calls are up. contested: two nodes have one
# name. refused: nothing that a node sends can be used.
STALE_REASONS: Final = ("no_node", "silent", "lists", "contested", "refused")


class Source(NamedTuple):
    """Whether what we show is fed: since when it is not, ms of the steady clock, or None; and why,
    one of :data:`STALE_REASONS`. ``troubles`` are those of single nodes, also while it is fed."""

    stale_since: int | None = None
    reason: str = "silent"
    troubles: tuple[Trouble, ...] = ()
