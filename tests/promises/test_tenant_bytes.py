"""Promise L: a company's stream does not depend on what other companies do, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from api.stream.encoder import SseEncoder
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from tests.calls import event
from tests.dashboards import PHASES, Loop, Pipe
from tests.examples import examples


@given(
    own=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(PHASES)), min_size=1, max_size=12),
    others=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(PHASES)), max_size=30),
    seed=st.randoms(use_true_random=False),
)
@settings(max_examples=examples(150), deadline=None)
def test_a_company_gets_the_same_bytes_whatever_others_do(
    own: list[tuple[int, str]], others: list[tuple[int, str]], seed: Any
) -> None:
    """Promise L, byte for byte: ids, versions, counts, digests, and when frames come."""

    own_steps = [(0.05 * at, "101", at, *one) for at, one in enumerate(own, 1)]
    others_steps = [
        (seed.uniform(0, 0.05 * len(own)), "102", at, *one) for at, one in enumerate(others, 1)
    ]

    def stream(steps: list[Any]) -> list[tuple[float, bytes]]:
        loop = Loop()
        table = ActiveCalls(secret=b"s" * 16, epoch="e")
        hub = Hub(table, SseEncoder(lambda: int(loop.now * 1000)),
                  rate=CommitRate(), heartbeat_seconds=5.0,
                  clock=loop.time, loop=cast("asyncio.AbstractEventLoop", loop))  # fmt: skip
        got: list[tuple[float, bytes]] = []

        class Quick(Pipe):
            def write(self, frames: Iterable[bytes]) -> None:
                got.extend((round(loop.now, 6), frame) for frame in frames)

        company, everything = (hub.subscribe(scope, None) for scope in (Scope("101"), Scope()))
        for subscriber, pipe in ((company, Quick()), (everything, Pipe())):
            pipe.write(subscriber.next_frames())
            subscriber.attach(pipe)
        for at, whose, seq, call, phase in sorted(steps):
            loop.advance(at - loop.now)
            told = event(phase, seq, node=f"n{whose}", dialog=f"{call}.{call}",
                         call_id=f"{whose}-{call}", company_id=whose)  # fmt: skip
            change = table.apply(told, int(loop.now * 1000))
            if change is not None:
                hub.on_change(change)
        loop.advance(11)
        return got

    assert stream(own_steps + others_steps) == stream(own_steps)
