"""Up to which position clients go on where another engine takes over, and where they must not."""

from __future__ import annotations

from typing import Any

import pytest

from livestate.cluster import wire
from livestate.cluster.follower import Follower
from livestate.cluster.rows import state_parts
from livestate.cluster.succession import SKIPPED, accept
from livestate.cluster.wire import Head, Held, Unreadable
from livestate.fanout.patch import Records
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.view import View
from livestate.store import merge
from tests.calls import event

ALL = Scope()


def happen(table: ActiveCalls, phase: str, call: int, seq: int, **fields: int) -> None:
    table.apply(event(phase, seq, dialog=f"{call}.{call}", call_id=f"c{call}", **fields), seq)


def stored(table: ActiveCalls) -> merge.Stored:
    calls = [(call, table.versions_of(call)) for call in table.calls.values()]
    scopes = {"": (table.view(ALL).version, table.view(ALL).stored_floor)}
    return merge.Stored(calls, scopes, table.epoch, b"s" * 16)


def follow(edge: Follower, table: ActiveCalls, fence: int) -> list[str]:
    """Take the state of ``table``; the keys that clients of the edge get."""
    view = table.view(ALL)
    head = Head("state", fence, view.tag, view.version, view.floor, 0, view.predecessor)
    edge.begin_state()
    (body,) = state_parts(view.history(), Records())
    return [change.after.key for change in edge.take_state(head, body, 1)]


class Rig:
    """Four calls in Redis. Then the first is answered and a fifth begins; the edge sees both, and
    ``missed`` of it never reached the engine that takes over."""

    def __init__(self, *, missed: bool) -> None:
        former = ActiveCalls(secret=b"s" * 16, epoch="old")
        for call in range(1, 5):
            happen(former, "setup", call, call)
        redis, early = stored(former), merge.in_memory(former, {})
        happen(former, "answered", 1, 11, answered_at=1_795_000_000_000)
        happen(former, "setup", 5, 12)
        self.edge = Follower(ALL)
        follow(self.edge, former, 1)
        memory = early if missed else merge.in_memory(former, {})
        self.table = merge.merged(redis, memory, "new", 1_000, 20, SKIPPED).table
        self.view: View = self.table.view(ALL)
        held = self.edge.held()
        assert held is not None
        self.held: Held = held


def test_only_what_redis_lacked_comes_again() -> None:
    rig = Rig(missed=False)
    assert rig.view.predecessor == (rig.held.tag, 4)
    accept(rig.table, rig.view, rig.held, 21)
    assert rig.view.predecessor == (rig.held.tag, 6)
    replica = rig.edge.replica
    assert len(follow(rig.edge, rig.table, 2)) == 2
    assert rig.edge.replica is replica, "clients go on"
    assert replica is not None
    assert (replica.view.tag, replica.view.digest) == (rig.view.tag, rig.view.digest)


def test_a_record_with_fewer_fields_is_not_given_as_a_diff() -> None:
    rig = Rig(missed=True)
    assert accept(rig.table, rig.view, rig.held, 21) == []
    replica = rig.edge.replica
    follow(rig.edge, rig.table, 2)
    assert rig.edge.replica is not replica


def test_a_call_that_the_engine_never_heard_of_is_removed() -> None:
    rig = Rig(missed=True)
    rows = [row for row in rig.held.rows if row[1] != 5]  # but for the answer
    (key,) = accept(rig.table, rig.view, rig.held._replace(rows=rows), 21)
    assert key not in rig.table.calls
    assert next(rig.view.since(6)) == (key, None, rig.view.version)
    assert rig.view.stored_floor == rig.view.version, "Redis does not hold that removal"


@pytest.mark.parametrize("change", [
    {"tag": "other"}, {"since": 5}, {"version": 4}, {"version": SKIPPED + 4},
])  # fmt: skip
def test_what_does_not_lead_on_from_redis_is_not_believed(change: dict[str, int]) -> None:
    rig = Rig(missed=False)
    before = rig.view.version
    assert accept(rig.table, rig.view, rig.held._replace(**change), 21) == []
    assert (rig.view.version, rig.view.predecessor) == (before, (rig.held.tag, 4))


def test_an_edge_in_the_midst_of_a_state_cannot_vouch() -> None:
    rig = Rig(missed=False)
    view = rig.table.view(ALL)
    head = Head("state", 1, rig.held.tag, 9, 0, more=True)
    rig.edge.begin_state()
    assert list(rig.edge.take_state(head, b"", 1)) == []
    assert rig.edge.held() is None
    follow(rig.edge, rig.table, 2)
    assert rig.edge.held() is not None
    assert rig.edge.version == view.version


def part(edge: Follower, table: ActiveCalls, **changes: Any) -> list[str]:
    """Take what changed after the edge's version; the keys that its clients get."""
    view, since = table.view(ALL), edge.version
    head = Head("state", 2, view.tag, view.version, view.floor, since, view.predecessor)
    edge.begin_state()
    (body,) = state_parts(view.history(since), Records())
    taken = edge.take_state(head._replace(**changes), body, 1)
    return [change.after.key for change in taken]


def test_an_edge_needs_only_what_changed_after_its_version() -> None:
    rig = Rig(missed=False)
    accept(rig.table, rig.view, rig.held, 21)
    assert rig.view.resumable(rig.held.tag, rig.held.version)
    replica = rig.edge.replica
    assert replica is not None
    assert len(part(rig.edge, rig.table)) == 2
    assert rig.edge.replica is replica
    assert not rig.edge.lost
    assert (replica.view.live, replica.view.digest) == (rig.view.live, rig.view.digest)


def test_a_part_that_does_not_lead_on_from_the_edge_is_refused() -> None:
    rig = Rig(missed=False)  # nothing vouched for what the edge holds: it must build another one
    with pytest.raises(Unreadable):
        part(rig.edge, rig.table)
    assert rig.edge.lost
    follow(rig.edge, rig.table, 2)
    assert rig.edge.version == rig.view.version


def test_an_edge_with_a_part_of_a_frame_builds_another_view() -> None:
    rig = Rig(missed=False)
    accept(rig.table, rig.view, rig.held, 21)
    replica, tag = rig.edge.replica, rig.held.tag
    broken = b'event: diff\ndata: {"calls":{"new":{"v":7,"state":"held"}}}\n\n'  # no whole record
    with pytest.raises(Unreadable):
        list(rig.edge.take(Head("diff", 1, tag, 7, 0, 6), broken, 1))
    assert rig.edge.held() is None
    follow(rig.edge, rig.table, 2)
    assert rig.edge.replica is not replica


def test_a_filter_hears_of_calls_that_are_gone_and_that_it_may_have_shown() -> None:
    """One that the edge never had, and one that only a whole state shows to be gone."""
    rig = Rig(missed=False)
    replica = rig.edge.replica
    assert replica is not None
    held = replica.narrowed(Scope(states=frozenset({"held"})))
    before, view = held.version, rig.view
    accept(rig.table, view, rig.held, 21)
    ended = next(iter(rig.table.calls))
    head = Head("state", 2, view.tag, view.version + 1, view.floor, 0, view.predecessor)
    rows = [line for line in next(state_parts(view.history(), Records())).split(b"\n")
            if ended.encode() not in line]  # fmt: skip
    rows.append(b'["strange",%d,null,null]' % (view.version + 1))
    rig.edge.begin_state()
    list(rig.edge.take_state(head, b"\n".join(rows), 1))
    assert {"strange", ended} <= {key for key, _, _ in held.since(before)}


def test_requests_survive_the_way_and_others_are_refused() -> None:
    held = Held("tag", 9, 4, [("k", 5, 0), ("gone", 6, -1)], [["state", "node"]])
    assert wire.decode_scope(wire.encode_scope("101", held)) == ("101", held)
    assert wire.decode_scope(wire.encode_scope(None)) == (None, None)
    for rows in ([["k", 5]], [["k", 5, 1]], [["k", "x", 0]], 7):
        broken = wire.encode_scope(None, held._replace(rows=rows))  # type: ignore[arg-type]
        with pytest.raises(Unreadable):
            wire.decode_scope(broken)


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    head = Head("diff", 3, "tag", 9, 2, 4)
    line, _, body = wire.encode(head, b"body").partition(b"\n")
    assert wire.decode(line[:-1] + b',"later":{"x":1}}\n' + body) == (head, b"body")


def test_a_filter_hears_of_calls_that_it_may_have_shown_elsewhere() -> None:
    """Another edge may have shown a call in between, to a client that comes here next."""
    rig = Rig(missed=False)
    assert rig.edge.replica is not None
    held = rig.edge.replica.narrowed(Scope(states=frozenset({"held"})))
    before = held.version
    accept(rig.table, rig.view, rig.held, 21)
    follow(rig.edge, rig.table, 2)
    assert [call for _, call, _ in held.since(before)] == [None, None]
    assert (held.live, held.predecessor and held.predecessor[1]) == (0, 6)
