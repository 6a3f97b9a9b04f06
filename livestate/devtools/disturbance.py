"""Disturbs a stream of messages as core NATS and an overloaded network do.

The publisher passes every message through :class:`Disturber`; ``livestate simulate`` and the fault
tests choose the shares. Pure and seeded: the same seed disturbs the same messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from livestate.contract.messages import Outgoing


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Which share of the messages (0 to 1) is repeated, delayed or lost."""

    duplicates: float = 0.0
    reorder: float = 0.0
    losses: float = 0.0
    seed: int = 1


class Disturber:
    """Repeats, delays and drops messages."""

    def __init__(self, disturbance: Disturbance) -> None:
        self.lost = 0
        self._disturbance = disturbance
        self._random = Random(disturbance.seed)
        self._held: list[tuple[int, Outgoing]] = []  # how many messages may still overtake it

    def stop(self) -> None:
        """Pass on everything from now on."""
        self._disturbance = Disturbance()

    def pass_on(self, messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
        """The messages in the order of their arrival. A delayed one arrives after up to four
        others, a duplicate after up to twenty, as seen on a real Kamailio; at the end all do."""
        shares, chance = self._disturbance, self._random
        for message in messages:
            if chance.random() < shares.losses:
                self.lost += 1
            elif chance.random() < shares.reorder:
                self._held.append((chance.randrange(1, 4), message))
                continue
            else:
                yield message
                if chance.random() < shares.duplicates:
                    self._held.append((chance.randrange(0, 20), message))
            self._held = [(left - 1, held) for left, held in self._held]
            for left, held in self._held:
                if left <= 0:
                    yield held
            self._held = [(left, held) for left, held in self._held if left > 0]
        for _, held in self._held:
            yield held
        self._held = []
