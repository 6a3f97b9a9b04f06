"""How long ended calls and quiet companies stay in memory."""

from __future__ import annotations

from typing import Any

import pytest

from livestate.contract.errors import Rejected
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.position import position_at
from livestate.state.views import Views
from tests.calls import event


class Rig:
    """A table that is told one event after the other."""

    def __init__(self, **limits: int) -> None:
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e", **limits)
        self.seq = 0

    def say(self, phase: str, call: str = "1", now: int = 0, **facts: Any) -> None:
        self.seq += 1
        self.table.apply(event(phase, self.seq, dialog=call, call_id=call, **facts), now)

    def lose(self, now: int = 0) -> None:
        self.seq += 1
        position = position_at(1, self.seq, from_sync=True)
        for _ in self.table.sweeps.close_missing("n1", position, set(), now):
            pass

    def known(self) -> list[str]:
        return [call.dialog for call in self.table.calls.values()]


# -- ended calls ---------------------------------------------------------------------------------


def test_ended_calls_are_forgotten_by_age_and_number_oldest_first() -> None:
    rig = Rig()
    for number in range(5):
        rig.say("ended", str(number), now=100 + number)
    assert rig.table.trim(100, 5) == []
    assert len(rig.table.trim(101, 5)) == 1
    assert rig.known() == ["1", "2", "3", "4"]
    assert len(rig.table.trim(0, 3)) == 1
    assert rig.known() == ["2", "3", "4"]
    assert rig.table.retention.trimmed
    assert len(rig.table.trim(999, 0, 2)) == 2
    assert not rig.table.retention.trimmed, "there may be more"
    assert len(rig.table.trim(999, 0, 2)) == 1
    assert rig.table.retention.trimmed
    assert rig.table.trim(999, 0) == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_call_that_was_lost_and_came_back_stays_for_its_full_time(times: int) -> None:
    rig = Rig()
    rig.say("answered")
    for turn in range(times):
        rig.lose(now=turn)
        rig.say("resume", now=turn)
    rig.say("ended", now=50)
    for _ in range(times):
        assert rig.table.trim(50, 100) == []
    assert rig.known() == ["1"]
    assert len(rig.table.trim(51, 100)) == 1
    rig.say("ended", "1", now=60)
    assert rig.table.trim(60, 100) == []
    assert len(rig.table.trim(61, 100)) == 1, "nothing of it is left to skip"


def test_a_call_that_is_live_again_is_not_forgotten() -> None:
    rig = Rig()
    rig.say("answered")
    rig.lose(now=1)
    rig.say("resume", now=2)
    assert rig.table.trim(999, 0) == []
    assert rig.known() == ["1"]
    assert rig.table.live == 1


def test_tombstones_of_views_are_trimmed_with_the_calls() -> None:
    rig = Rig()
    for number in range(4):
        rig.say("answered", str(number), company_id="101")
        rig.say("ended", str(number), now=number, company_id="101")
    views = [rig.table.view(Scope()), rig.table.view(Scope("101"))]
    rig.table.trim(2, 100)
    assert [len(view.rows) for view in views] == [2, 2]
    assert [view.floor for view in views] == [4, 4]
    rig.table.trim(999, 100, 3)
    assert not rig.table.retention.trimmed
    for _ in range(6):
        rig.table.trim(999, 100, 3)
    assert [len(view.rows) for view in views] == [0, 0]
    assert rig.table.retention.trimmed


# -- companies -----------------------------------------------------------------------------------


def test_there_are_never_more_companies_than_allowed_in_all_and_by_node() -> None:
    rig = Rig(most_companies=3, most_companies_a_node=2)
    for company in ("a", "b"):
        rig.say("setup", company, company_id=company)
    with pytest.raises(Rejected, match="n1 has named 2"):
        rig.say("setup", "c", company_id="c")
    assert rig.table.view(Scope()).live == 2
    rig.say("setup", "c", company_id="c", node="n2")
    assert rig.table.views.companies == 3
    with pytest.raises(Rejected, match="3 have calls"):
        rig.say("setup", "d", company_id="d", node="n2")
    rig.say("setup", "e", company_id="a")
    assert rig.table.live == 4


def test_quiet_companies_are_evicted_but_for_the_most_active() -> None:
    rig = Rig(most_companies_a_node=4)
    for company, calls in (("a", 1), ("b", 3), ("c", 2), ("up", 1)):
        for number in range(calls):
            rig.say("setup", f"{company}{number}", company_id=company)
            if company != "up":
                rig.say("ended", f"{company}{number}", now=1, company_id=company)
    views = rig.table.views
    assert views.evict(0) == [], "their tombstones are here"
    rig.table.trim(2, 100)
    watched = rig.table.view(Scope("c"))
    watched.watched = True
    filtered = rig.table.view(Scope("b", frozenset({"held"})))
    assert views.evict(1) == []
    assert views.evict(0) == ["a"], "the others are up, watched, or filtered"
    rig.table.views.drop(filtered)
    watched.watched = False
    assert views.evict(2) == []
    assert views.evict(1) == ["c"]
    assert views.companies == 2
    assert {view.scope.company_id for view in views} == {None, "b", "up"}
    for company in ("x", "y"):
        rig.say("setup", company, company_id=company)
    with pytest.raises(Rejected, match="n1 has named 4"):
        rig.say("setup", "z", company_id="z")


def test_an_evicted_company_that_comes_back_counts_on_from_a_number_of_its_own() -> None:
    """A client may hold a position of the evicted view: it must not fit the new one."""
    versions = []
    for others in (0, 7):
        rig = Rig()
        rig.say("setup", company_id="101")
        first = rig.table.view(Scope("101"))
        assert first.version == 1
        rig.say("ended", now=1, company_id="101")
        for number in range(others):
            rig.say("setup", f"o{number}", company_id=f"o{number}")
        rig.table.trim(2, 100)
        assert rig.table.views.evict(0) == ["101"]
        rig.say("setup", company_id="101")
        again = rig.table.view(Scope("101"))
        assert 2**40 < again.first < 2**51
        assert again.version == again.first + 1
        assert not again.resumable(first.tag, first.version)
        versions.append(again.version)
        filtered = rig.table.view(Scope("101", frozenset({"trying"})))
        assert filtered.version == rig.table.view(filtered.scope.base).version
        rig.say("ended", now=1, company_id="101")
        rig.table.views.drop(filtered)
        rig.table.trim(2, 100)
        assert rig.table.views.evict(0) == ["101"], "it is quiet, though its numbers are high"
        rig.say("setup", company_id="101")
        assert rig.table.view(Scope("101")).first != again.first
    assert versions[0] == versions[1], "whatever other companies do"


def test_a_filtered_view_that_is_made_again_goes_on_where_it_was() -> None:
    rig = Rig()
    rig.say("setup", company_id="101")
    scope = Scope("101", frozenset({"trying"}))
    first = rig.table.view(scope)
    assert rig.table.view(scope) is first
    rig.table.views.drop(first)
    second = rig.table.view(scope)
    assert second is not first
    assert (second.tag, second.version) == (first.tag, first.version)
    rig.say("answered", company_id="101")
    third = rig.table.view(Scope("101", frozenset({"answered"})))
    assert third.resumable(third.tag, third.version - 1), "a client that was there before"
    assert third.tag != second.tag
    rig.table.views.drop(first)
    assert rig.table.view(scope) is second, "not the one that was dropped before"
    base = rig.table.view(Scope("101"))
    rig.table.views.drop(base)
    assert rig.table.view(Scope("101")) is base, "it has had a call"
    rig.table.views.drop(rig.table.view(Scope()))
    assert Scope() in {view.scope for view in rig.table.views}
    empty = rig.table.view(Scope("103"))
    rig.table.views.drop(empty)
    assert rig.table.views.companies == 1
    tags = {Views.tag_of(one, epoch) for epoch in ("e", "f") for one in (Scope(), Scope("101"))}
    assert len(tags) == 4
    assert Views.tag_of(Scope("101"), "e") == base.tag


def test_versions_of_a_call_are_those_of_each_company_that_it_was_of() -> None:
    rig = Rig()
    rig.say("setup", company_id="101")
    rig.say("setup", "other", company_id="102")
    rig.say("ringing", company_id="102")
    (call, _) = rig.table.calls.values()
    assert rig.table.versions_of(call) == {"": 3, "101": 2, "102": 2}
    rig.say("ended", now=1)
    (call, _) = rig.table.calls.values()
    assert rig.table.versions_of(call) == {"": 4, "101": 2, "102": 3}
    rig.table.trim(2, 100)
    assert rig.table.versions_of(call) == {}
    assert [rig.table.view(Scope(one)).stored_floor for one in (None, "101", "102")] == [4, 2, 3]
    owner = Rig()
    owner.say("setup")
    assert owner.table.versions_of(next(iter(owner.table.calls.values()))) == {"": 1}
