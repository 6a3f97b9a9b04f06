"""Promise L: a company's stream does not depend on what other companies do, byte for byte. So it is
with one process, and at an edge that follows an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.stream.encoder import SseEncoder
from livestate.cluster import wire
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.fanout.subscriber import Subscriber
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls, Change
from tests.calls import event
from tests.dashboards import PHASES, Loop, Pipe
from tests.examples import examples
from tests.promises.engines_and_edges import Edge, Engine


class Alone:
    """One process."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.own_hub = Hub(self.table, SseEncoder(lambda: self.now),
                           rate=CommitRate(), heartbeat_seconds=5.0, clock=self.loop.time,
                           loop=cast("asyncio.AbstractEventLoop", self.loop))  # fmt: skip

    @property
    def now(self) -> int:
        return int(self.loop.now * 1000)

    def subscribe(self, scope: Scope) -> Subscriber:
        return self.own_hub.subscribe(scope, None)

    def note(self, change: Change) -> None:
        self.own_hub.on_change(change)


class AtAnEdge(Alone):
    """An engine, and edges that read each frame in the moment it is sent. ``sent``: subjects."""

    def __init__(self, edges: int = 1) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.engine = Engine(cast("Any", self), self.table, 1)
        self.edges = [Edge(cast("Any", self)) for _ in range(edges)]
        put = self.engine.put

        def put_through(subject: str, payload: bytes) -> None:
            self.sent.append(subject)
            put(subject, payload)
            for edge in self.edges:
                for company_id in edge.replicas.by_company:
                    if subject == wire.FRAMES + wire.view_name(company_id):
                        edge.read(company_id)

        self.engine.put = put_through  # type: ignore[method-assign]

    def subscribe(self, scope: Scope) -> Subscriber:
        return self.edges[0].subscribe(scope, None)

    def note(self, change: Change) -> None:
        self.engine.note(change)


def stream(place: Alone, steps: list[Any]) -> list[tuple[float, bytes]]:
    """What company 101 is sent, and when, while these events come in."""
    loop = place.loop
    got: list[tuple[float, bytes]] = []

    class Quick(Pipe):
        def write(self, frames: Iterable[bytes]) -> None:
            got.extend((round(loop.now, 6), frame) for frame in frames)

    company, everything = (place.subscribe(scope) for scope in (Scope("101"), Scope()))
    for subscriber, pipe in ((company, Quick()), (everything, Pipe())):
        pipe.write(subscriber.next_frames())
        subscriber.attach(pipe)
    for at, whose, seq, call, phase in sorted(steps):
        loop.advance(at - loop.now)
        told = event(phase, seq, node=f"n{whose}", dialog=f"{call}.{call}",
                     call_id=f"{whose}-{call}", company_id=whose)  # fmt: skip
        change = place.table.apply(told, place.now)
        if change is not None:
            place.note(change)
    loop.advance(11)
    return got


@pytest.mark.parametrize("place", [Alone, AtAnEdge])
@given(
    own=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(PHASES)), min_size=1, max_size=12),
    others=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(PHASES)), max_size=30),
    seed=st.randoms(use_true_random=False),
)
@settings(max_examples=examples(150), deadline=None)
def test_a_company_gets_the_same_bytes_whatever_others_do(
    place: Callable[[], Alone], own: list[tuple[int, str]], others: list[tuple[int, str]], seed: Any
) -> None:
    """Promise L, byte for byte: ids, versions, counts, digests, and when frames come."""

    own_steps = [(0.05 * at, "101", at, *one) for at, one in enumerate(own, 1)]
    others_steps = [
        (seed.uniform(0, 0.05 * len(own)), "102", at, *one) for at, one in enumerate(others, 1)
    ]
    alone = stream(place(), own_steps)
    assert stream(place(), own_steps + others_steps) == alone
    sent = b"".join(frame for _, frame in alone)
    assert b"event: heartbeat" in sent
    if own[0][1] == "setup":
        assert b"event: diff" in sent
