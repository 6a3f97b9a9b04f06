"""Promise K: one user, or one node that invents companies, takes only a bounded share."""

from __future__ import annotations

import asyncio

import pytest

from api.auth.unverified import Refusals
from api.cli.child_service import Instance
from api.stream.filtered_views import Filters
from livestate.contract.errors import Rejected
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from tests.abuse.raw import SNAPSHOT, as_, connection, get
from tests.calls import event
from tests.harness import Node, snapshot

# -- companies -----------------------------------------------------------------------------------


def test_a_node_that_makes_up_companies_is_stopped_and_the_others_go_on() -> None:
    table = ActiveCalls(secret=b"s" * 16, epoch="e", most_companies=10, most_companies_a_node=6)
    for n in range(6):
        table.apply(event("setup", n + 1, dialog=f"{n}.1", company_id=f"made-up-{n}"), 1)
    with pytest.raises(Rejected, match="too_many_companies"):
        table.apply(event("setup", 7, dialog="7.1", company_id="made-up-7"), 1)
    assert table.live == 6
    assert table.apply(event("setup", 8, dialog="8.1", company_id="made-up-1"), 1)
    assert table.apply(event("setup", 1, node="n2", dialog="1.1", company_id="honest"), 1)


def test_quiet_companies_are_evicted_and_their_numbers_never_used_again() -> None:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    for n in range(30):
        fields = {"dialog": f"{n}.1", "call_id": f"c{n}", "company_id": f"made-up-{n}"}
        table.apply(event("answered", 2 * n + 1, **fields), 1)
        table.apply(event("ended", 2 * n + 2, **fields), 1)
    old = table.view(Scope("made-up-3"))
    watched = table.view(Scope("made-up-4"))
    watched.watched = True
    assert table.views.evict(0) == []  # their tombstones are still there
    table.trim(1_000, 0)
    gone = table.views.evict(5)
    assert len(gone) == 29 - 5
    assert table.views.companies == 6
    assert table.view(Scope("made-up-4")) is watched
    table.views.evict(0)
    table.apply(event("answered", 100, dialog="1.9", company_id="made-up-3"), 2)
    second = table.view(Scope("made-up-3"))
    assert second is not old
    assert second.version < 2**51 + 2**41
    assert not any(second.resumable(old.tag, version) for version in range(old.version + 1))


# -- what one user may take ----------------------------------------------------------------------


def filtered(number: int) -> Scope:
    return Scope(trunks=frozenset({f"gw-{number}"}))


def test_filters_are_bounded_for_a_user_and_for_all() -> None:
    filters = Filters(most=6, most_per_user=4)
    for number in range(4):
        assert not filters.refuses("a", filtered(number), 0.0)
        filters.opened("a", filtered(number))
    assert filters.refuses("a", filtered(4), 0.0)
    assert not filters.refuses("a", filtered(1), 0.0)  # the user has it already
    assert not filters.refuses("b", filtered(1), 0.0)  # and so has somebody
    assert not filters.refuses("a", Scope(), 0.0)
    for number in (4, 5):
        assert not filters.refuses("b", filtered(number), 0.0)
        filters.opened("b", filtered(number))
    assert filters.refuses("c", filtered(6), 0.0)
    filters.closed("a", filtered(0))
    assert not filters.refuses("c", filtered(6), 0.0)


def test_a_user_makes_only_so_many_new_filters_a_second() -> None:
    filters = Filters(most=64, most_per_user=4)
    made = sum(not filters.refuses("a", filtered(number), 0.0) for number in range(100))
    assert made == 8
    assert not filters.refuses("b", filtered(1), 0.0)
    later = sum(not filters.refuses("a", filtered(number), 2.0) for number in range(100))
    assert later == 4
    # One that waited until its view was made has been charged for already.
    assert filters.refuses("a", filtered(0), 2.0)
    assert not filters.refuses("a", filtered(0), 2.0, paid=True)


def test_a_refusal_is_of_these_bytes_and_these_keys_and_of_a_moment() -> None:
    from api.auth.claims import Unauthenticated

    refusals = Refusals(most=3, seconds=10.0)
    refusals.note(b"x", 1, 100.0, Unauthenticated("no"))
    with pytest.raises(Unauthenticated, match="no"):
        refusals.check(b"x", 1, 105.0)
    refusals.check(b"y", 1, 105.0)
    refusals.check(b"x", 2, 105.0)
    refusals.check(b"x", 1, 111.0)
    for number in range(9):
        refusals.note(bytes([number]), 1, 100.0, Unauthenticated("no"))
    assert len(refusals) == 3


async def test_large_snapshots_of_one_user_are_as_many_as_may_be(
    service: Instance, node: Node
) -> None:
    """A reader that takes nothing keeps its place, and leaves the others theirs."""
    node.hurried = True
    calls = [
        {"dialog": f"{n}.1", "call_id": f"c{n}", "state": "answered", "company_id": "large",
         "detail": "x" * 250} for n in range(4_000)
    ]  # fmt: skip
    for part in range(20):
        head = {"sync_id": "large", "part": part + 1, "parts": 20}
        listed = calls[part * 200 : part * 200 + 200]
        await node.publish("sync", node.envelope() | head | {"calls": listed})
    await node.client.flush()
    greedy, modest = (service.token(subject=name) for name in ("greedy", "modest"))
    query = {"company_id": "large"}
    async with asyncio.timeout(10):
        while len((await snapshot(service, modest, query))["calls"]) < 4_000:
            await asyncio.sleep(0.1)
    asked = get(SNAPSHOT + "?company_id=large", as_(greedy))
    async with asyncio.timeout(20), connection(service.port) as (one, first):
        first.write(asked)
        assert b" 200 " in await one.readuntil(b"\r\n\r\n")
        async with connection(service.port) as (two, second):
            second.write(asked)
            assert b" 200 " in await two.readuntil(b"\r\n\r\n")
            async with connection(service.port) as (three, third):
                third.write(asked)
                head = await three.readuntil(b"\r\n\r\n")
                assert b" 429 " in head
                assert b"retry-after" in head.lower()
            assert len((await snapshot(service, modest, query))["calls"]) == 4_000
    async with asyncio.timeout(10):
        while True:
            async with connection(service.port) as (again, fourth):
                fourth.write(asked)
                if b" 200 " in await again.readuntil(b"\r\n\r\n"):
                    break
            await asyncio.sleep(0.1)
    await node.list()
