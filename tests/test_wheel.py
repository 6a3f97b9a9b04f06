"""Deadlines on a wheel: each once, never early, at most a second and a turn late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.wheel import TURN_SECONDS, Wheel

steps = st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.floats(0, 5)), max_size=60)


@given(steps)
def test_every_deadline_comes_once_and_never_early(steps: list[tuple[float, bool, float]]) -> None:
    now = 1_000.0
    came: list[int] = []
    deadlines: dict[int, float] = {}

    def due(item: int) -> None:
        came.append(item)
        assert deadlines[item] <= now <= deadlines[item] + 1 + 5 + TURN_SECONDS

    wheel: Wheel[int] = Wheel(due)
    wheel.turn(now)
    for item, (after, taken, passes) in enumerate(steps):
        deadlines[item] = now + after
        wheel.put(item, deadlines[item])
        if taken:
            wheel.take(item)
            wheel.take(item)
            del deadlines[item]
        now += passes
        wheel.turn(now)
    now += 40
    late = [item for item in deadlines if item not in came]
    deadlines |= dict.fromkeys(late, now)
    wheel.turn(now)
    assert sorted(came) == sorted(deadlines)
    assert len(wheel) == 0
