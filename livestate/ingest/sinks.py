"""Delivers changes to everything that follows the table: the hub, the projection, the KPIs.

The pipeline and the dialog lists publish here, :mod:`api.service` chooses the sinks. Every change
reaches every sink once, in the order in which the sinks were given and the changes were made. A
sink returns at once: nothing here waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from livestate.process.slices import Slices
from livestate.state.active_calls import Change
from livestate.state.sweeps import Step


class Sink(Protocol):
    """Follows the table."""

    def on_change(self, change: Change) -> None:
        """Take one change. Must not wait and must not raise."""


class Sinks:
    """All sinks of one table. ``callbacks`` are their ``on_change`` methods, for the hot path."""

    def __init__(self, sinks: Iterable[Sink], slices: Slices | None) -> None:
        """``slices`` runs what is too long for one callback of the event loop; without it, as in
        tests and replays of a file, a sweep runs to its end at once."""
        self.callbacks = [sink.on_change for sink in sinks]
        self._slices = slices

    def listen(self, sink: Sink, wanted: bool) -> None:
        """Add a sink that has something to do only now and then, or take it away: it costs
        nothing meanwhile. Not from within ``on_change``."""
        known = sink.on_change in self.callbacks
        if wanted and not known:
            self.callbacks.append(sink.on_change)
        elif known and not wanted:
            self.callbacks.remove(sink.on_change)

    def publish(self, change: Change) -> None:
        """Deliver one change."""
        for on_change in self.callbacks:
            on_change(change)

    def sweep(self, steps: Iterator[Step]) -> None:
        """Deliver the changes of a sweep over all calls of a node.

        A node may have 50,000 calls. The first slice runs now, the others in later rounds of the
        event loop, between messages. A step is None where the sweep looked at calls and changed
        none, so that a slice can end there as well.
        """
        work = map(self._publish_step, steps)
        if self._slices is not None:
            self._slices.start(work)
            return
        for _ in work:
            pass

    def _publish_step(self, step: Step) -> None:
        if step is not None:
            self.publish(step)
