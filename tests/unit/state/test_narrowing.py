"""A filter's view made in steps is the one made in one go, whatever happens between the steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.stream.encoder import SseEncoder
from livestate.cluster.replicas import Replicas
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.state import narrowed as module
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.narrowed import Narrowing, narrowed
from livestate.state.view import View
from tests.calls import event
from tests.examples import examples

SCOPES = [
    Scope(states=frozenset({"answered"})), Scope(trunks=frozenset({"gw-a"})),
    Scope("101", frozenset({"answered", "held"}), frozenset({"gw-a"})),
]  # fmt: skip
PHASES = ("ringing", "answered", "hold", "resume", "ended")
CHANGES = st.lists(
    st.tuples(
        st.integers(1, 12), st.sampled_from(PHASES),
        st.sampled_from(["101", "101", "102"]), st.sampled_from(["gw-a", "gw-b"]),
        st.booleans(),  # all tombstones are trimmed after it
    ),
    max_size=12,
)  # fmt: skip


class Day:
    """Calls that change, one event after the other."""

    def __init__(self) -> None:
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.seq = 0

    def happen(self, call: int, phase: str, company: str, trunk: str, trimmed: bool) -> None:
        self.seq += 1
        self.table.apply(event(phase, self.seq, dialog=f"{call}.1", call_id=f"c{call}",
                               company_id=company, trunk=trunk), self.seq)  # fmt: skip
        if trimmed:
            self.table.trim(self.seq + 1, 0)


def shown(view: View) -> list[tuple[str, int]]:
    return [(key, at) for key, _, at in view.snapshot()]


@settings(max_examples=examples(200))
@given(
    scope=st.sampled_from(SCOPES), before=CHANGES, between=st.lists(CHANGES, max_size=8),
    resumed=st.sampled_from([0, 2, 100]), at_once=st.integers(1, 4),
)  # fmt: skip
def test_steps_with_changes_between_them_make_the_view_of_the_end(
    scope: Scope, before: list[Any], between: list[list[Any]], resumed: int, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "RESUMED_ROWS", resumed)
        patched.setattr(module, "NARROWED_AT_ONCE", at_once)
        day = Day()
        for change in before:
            day.happen(*change)
        base = day.table.view(scope.base)
        narrowing = Narrowing(base, scope, day.table.calls)
        later = iter(between)
        for _ in narrowing.steps():
            for change in next(later, []):
                day.happen(*change)
        for changes in later:  # between the last step and the client's first frame
            for change in changes:
                day.happen(*change)
        view, whole = narrowing.view(), narrowed(base, scope, day.table.calls)
        assert shown(view) == shown(whole)
        assert list(view.rows.values()) == sorted(view.rows.values())
        assert (view.version, view.live, view.digest) == (whole.version, whole.live, whole.digest)
        assert view.floor >= base.floor
        for version in range(view.floor, base.version + 1):  # who resumes misses nothing
            late = {key for key, _, _ in base.since(version)}
            assert {key for key, _, _ in view.since(version)} <= late
            told = {key for key, _, _ in whole.since(version)} if version >= whole.floor else set()
            assert told <= {key for key, _, _ in view.since(version)}


# -- the hub makes them while a client waits -------------------------------------------------------

ANSWERED = Scope(states=frozenset({"answered"}))


CALLS = 3 * module.NARROWED_AT_ONCE  # a compiled build has the number itself in its code


@pytest.fixture
def day() -> Day:
    day = Day()
    for call in range(CALLS):
        day.happen(call, "answered", "101", "gw-a", trimmed=False)
    return day


@pytest.fixture
async def hub(day: Day) -> Hub:
    return Hub(day.table, SseEncoder(lambda: day.seq), rate=CommitRate(), heartbeat_seconds=1e6,
               loop=asyncio.get_running_loop())  # fmt: skip


def filters(day: Day) -> list[View]:
    return [view for view in day.table.views if view.filtered]


async def test_a_large_view_is_narrowed_before_the_stream_begins(day: Day, hub: Hub) -> None:
    assert not hub.prepared(ANSWERED)
    assert await hub.prepare(ANSWERED)
    assert hub.prepared(ANSWERED)
    hub.subscribe(ANSWERED, None)
    await asyncio.sleep(0)
    (view,) = filters(day)
    assert view.live == CALLS
    assert view in hub.producers


async def test_a_view_whose_client_does_not_come_is_let_go_of(day: Day, hub: Hub) -> None:
    assert await hub.prepare(ANSWERED)
    assert filters(day)
    await asyncio.sleep(0)
    assert not filters(day)


async def test_nothing_is_left_of_a_client_that_leaves_while_it_waits(day: Day, hub: Hub) -> None:
    waiting = asyncio.create_task(hub.prepare(ANSWERED))
    hub.context.slices.add(iter(range(3)))  # other work in between
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    while hub.context.slices:
        await asyncio.sleep(0)
    assert not filters(day)
    assert await hub.prepare(ANSWERED), "the next one does not wait for it"


async def test_those_who_wait_for_one_filter_share_its_view(
    day: Day, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = Narrowing.steps

    def steps(self: Narrowing) -> Iterator[None]:
        made.append(self)
        return real(self)

    monkeypatch.setattr(Narrowing, "steps", steps)

    async def join() -> View:
        await hub.prepare(ANSWERED)
        hub.subscribe(ANSWERED, None)
        return day.table.view(ANSWERED)

    assert len(set(await asyncio.gather(*(join() for _ in range(10))))) == 1
    assert len(made) == 1


async def test_one_that_fails_does_not_keep_others_waiting(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Narrowing) -> Iterator[None]:
        raise RuntimeError("planted")
        yield

    with monkeypatch.context() as planted:
        planted.setattr(Narrowing, "steps", fail)
        with pytest.raises(RuntimeError, match="planted"):
            await hub.prepare(ANSWERED)
    assert await hub.prepare(ANSWERED)


async def test_views_that_are_made_anew_meanwhile_are_the_ones_that_count(
    day: Day, hub: Hub
) -> None:
    narrowing = day.table.views.narrowing(ANSWERED)
    assert narrowing is not None
    for _ in narrowing.steps():
        pass
    other = Day()
    other.happen(1, "answered", "101", "gw-a", trimmed=False)
    day.table.become(other.table)
    assert day.table.views.add(narrowing).live == 1


def test_an_edge_that_does_not_follow_the_view_has_nothing_to_narrow() -> None:
    replicas = cast("Any", Replicas())
    assert replicas.narrowing(ANSWERED) is None
    with pytest.raises(KeyError):
        replicas.add(Narrowing(View(Scope(), "t", {}), ANSWERED, {}))
