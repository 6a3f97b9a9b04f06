"""A start asks the nodes for their lists while it reads Redis, and folds what came afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from api.service import Service
from api.settings import Settings
from api.start import Found
from livestate.devtools.servers import NatsServer
from livestate.ingest.early_lists import EarlyLists
from livestate.process.tasks import cancel_and_wait
from livestate.state.access import Scope
from livestate.state.active_calls import FEW, ActiveCalls
from livestate.state.call import begin
from livestate.state.view import RESTORED_AT_ONCE
from livestate.store.loader import Loaded
from tests.calls import event
from tests.harness import Node, until
from tests.unit.ingest.test_backlog import Turns, message

SECRET = b"s" * 16


def stored(node: str, *dialogs: str) -> Loaded:
    """What Redis holds of a node: one ringing call for each dialog."""
    keys = ActiveCalls(secret=SECRET, epoch="")
    calls = []
    for seq, dialog in enumerate(dialogs, 1):
        first = event("ringing", seq, node=node, dialog=dialog, call_id=f"{dialog}@{node}")
        call = begin(keys.key_of(node, dialog, first.call_id), first)
        calls.append((call, {"": seq}))
    return Loaded("before", SECRET, calls, {"": (len(calls), 0)}, 0, "")


class Asked:
    """A feed that remembers what it was asked for."""

    def __init__(self) -> None:
        self.connected = False
        self.nodes: list[str] = []

    async def request_list(self, node: str) -> None:
        self.nodes.append(node)


async def test_a_node_is_asked_once_as_soon_as_there_is_a_connection() -> None:
    feed = Asked()
    early = EarlyLists(feed, lambda: 1_000)
    asking = asyncio.create_task(early.run())
    early.found("n1")
    await asyncio.sleep(0)
    assert feed.nodes == []
    feed.connected = True
    await until(lambda: feed.nodes == ["n1"])
    early.found("n1")
    early.found("n2")
    await until(lambda: feed.nodes == ["n1", "n2"])
    assert early.asked == {"n1": 1_000, "n2": 1_000}
    await cancel_and_wait(asking)


async def test_a_held_backlog_folds_nothing_before_its_release() -> None:
    turns = Turns()
    turns.backlog.hold()
    for number in range(3):
        turns.backlog.add("", message("n1", number))
    turns.backlog.begin()
    await asyncio.sleep(0.01)
    assert turns.taken == []
    turns.backlog.release()
    await turns.until(lambda: not turns.backlog.active)
    assert [n for _, n in turns.taken] == [0, 1, 2]


async def test_a_list_that_comes_while_redis_is_read_decides_on_the_stored_calls(
    nats_server: NatsServer,
) -> None:
    service = Service(Settings(nats_url=nats_server.url))
    feeding = asyncio.create_task(service.consumer.run())
    async with await Node.connect(nats_server.url) as node:
        asked = await node.client.subscribe(f"call.resync.{node.name}")
        await node.client.flush()

        async def read(found: Found) -> Loaded:
            found(node.name)
            await asked.next_msg(timeout=30)
            up = {"dialog": "1.1", "call_id": f"1.1@{node.name}", "state": "answered"}
            await node.list(up)
            await until(lambda: service.consumer.backlog.messages > 0)
            assert service.table.live == 0  # it waits
            return stored(node.name, "1.1", "2.1")

        service._start.hold()
        try:
            assert await service._start.restore(read)
            assert service.table.live == 2
            service._start.release()
            await until(lambda: service.table.live == 1)
            (call,) = (call for call in service.table.calls.values() if call.live)
            assert (call.dialog, call.state) == ("1.1", "answered")
            here = service.nodes.by_name[node.name]
            assert not here.wants_list
            assert list(service.nodes.to_ask(here.asked_at + 1)) == []
        finally:
            await cancel_and_wait(feeding)


@pytest.mark.parametrize("edited", [False, True], ids=["as stored", "versions deleted"])
def test_a_table_is_restored_in_slices(edited: bool) -> None:
    """Between two slices the event loop has a turn."""
    loaded = stored("n1", *(f"{n}.1" for n in range(5_000)))
    if edited:
        loaded = replace(loaded, calls=[(call, {}) for call, _ in loaded.calls], scopes={})
    table = ActiveCalls(secret=SECRET, epoch="now")
    all_calls, done = table.view(Scope()).rows, []
    for _ in table.restoring(loaded.calls, loaded.scopes, loaded.epoch, 1):
        done.append(len(table.calls) + len(all_calls))
    steps = [after - before for before, after in pairwise([0, *done, 10_000])]
    assert max(steps) <= RESTORED_AT_ONCE
    assert table.live == 5_000
    view = table.view(Scope())
    assert (view.live, view.version) == (5_000, 5_000)


def test_many_companies_are_restored_in_slices() -> None:
    calls = []
    for n in range(3_000):
        call = begin(f"k{n}", event("answered", 1, dialog=f"{n}.1", company_id=f"c{n}"))
        calls.append((call, {"": n + 1, f"c{n}": 1}))
    table = ActiveCalls(secret=SECRET, epoch="now")
    done = []
    for _ in table.restoring(calls, {}, "before", 1):
        done.append(table.views.companies)
    assert max(after - before for before, after in pairwise([0, *done, 3_000])) <= FEW
