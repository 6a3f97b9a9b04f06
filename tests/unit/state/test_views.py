"""The views of scopes: which are kept, and from which positions a client can resume."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from api.stream.encoder import SseEncoder
from livestate.fanout.context import CommitRate
from livestate.fanout.hub import Hub
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from tests.calls import event
from tests.dashboards import Loop
from tests.promises.test_view import SCOPES


def test_a_filter_on_an_unknown_company_leaves_nothing() -> None:
    """Who may see all calls may ask for any name, thousands of them: each would be kept for ever,
    in Redis too."""
    loop = Loop()
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    hub = Hub(
        table,
        SseEncoder(lambda: int(loop.now * 1000)),
        rate=CommitRate(),
        heartbeat_seconds=5.0,
        loop=cast("asyncio.AbstractEventLoop", loop),
    )
    held = frozenset({"held"})
    table.apply(event("answered", 1, company_id="101"), 1)
    before = set(table.views)
    for number in range(20):
        for scope in (Scope(f"new {number}"), Scope(f"new {number}", held), Scope("101", held)):
            hub.release(table.view(scope))  # as a snapshot does
    assert set(table.views) == before
    watched = hub.subscribe(Scope("102"), None)
    view = table.view(Scope("102"))
    filtered = [hub.subscribe(Scope("102", held), None) for _ in range(2)]
    for subscriber in filtered:
        subscriber.leave()
    change = table.apply(event("answered", 2, dialog="2.2", company_id="102"), 2)
    assert change is not None
    assert view in change.views, "it was let go of under its watcher"
    watched.leave()
    assert table.view(Scope("102")) is view, "its numbering must not begin anew"
    first, second = hub.subscribe(Scope("103", held), None), hub.subscribe(Scope("103"), None)
    second.leave()
    assert Scope("103") in {view.scope for view in table.views}, "a filter needs its base"
    first.leave()
    assert "103" not in {view.scope.company_id for view in table.views}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_position_below_the_floor_is_a_snapshot(scope: Scope) -> None:
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    view = table.view(scope)
    for number in range(1, 20):
        told = {"dialog": f"{number}.1", "company_id": "101", "trunk": "gw-a"}
        table.apply(event("answered", 2 * number, **told), number)
        table.apply(event("ended", 2 * number + 1, **told), number)
    assert view.resumable(view.tag, 0)
    table.trim(0, 2)
    assert view.resumable(view.tag, view.version)
    assert not view.resumable(view.tag, view.version + 1)
    assert not view.resumable("0" * 16, view.version)
    if view.version:
        assert not view.resumable(view.tag, 0)
