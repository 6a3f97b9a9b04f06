"""What a restart of ours takes back: a stored table goes on where it was, in every view."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.view import View
from tests.examples import examples
from tests.unit.state.test_retention import Rig

STEPS = st.lists(
    st.tuples(st.sampled_from(["setup", "ringing", "answered", "ended", "trim", "lose"]),
              st.sampled_from("abcd"), st.sampled_from(["101", "101", "102", None])),
    min_size=1, max_size=25,
)  # fmt: skip


def seen(view: View) -> dict[str, int]:
    return {key: version for key, _, version in view.snapshot()}


@settings(max_examples=examples(200), deadline=None)
@given(before=STEPS, after=STEPS, edited=st.sets(st.sampled_from("abcd")))
def test_a_restored_table_goes_on_where_the_stored_one_was(
    before: list[tuple[str, str, str | None]], after: list[tuple[str, str, str | None]],
    edited: set[str],
) -> None:  # fmt: skip
    """``edited``: calls whose versions are missing in Redis. They count as just changed."""
    rig = Rig()

    def walk(steps: list[tuple[str, str, str | None]]) -> None:
        for step, call, company in steps:
            if step == "trim":
                rig.table.trim(rig.seq, 1)
            elif step == "lose":
                rig.lose(rig.seq)
            else:
                facts = {"company_id": company} if company else {}
                rig.say(step, call, now=rig.seq, **facts)

    walk(before)
    old = rig.table
    stored: list[tuple[Call, dict[str, int]]] = [
        (call, {} if call.dialog in edited and call.live else old.versions_of(call))
        for call in old.calls.values()
    ]
    scopes = {view.scope.company_id or "": (view.version, view.stored_floor) for view in old.views}
    rig.table = ActiveCalls(secret=b"s" * 16, epoch="f")
    rig.table.restore(stored, scopes, "e", rig.seq)
    new = rig.table
    assert new.calls == old.calls
    assert (new.live, new.weights.live) == (old.live, old.weights.live)
    assert {view.scope for view in new.views} == {view.scope for view in old.views}
    for view in old.views:
        restored = new.view(view.scope)
        fresh = {call.key for call, versions in stored if not versions and call.live
                 and view.holds(call)}  # fmt: skip
        assert restored.version == view.version + len(fresh)
        kept = {key: at for key, at in seen(restored).items() if key not in fresh}
        assert kept == {key: at for key, at in seen(view).items() if key not in fresh}
        assert {seen(restored)[key] for key in fresh} == set(
            range(view.version + 1, restored.version + 1)
        )
        assert restored.digest == sum(seen(restored).values())
        assert restored.live == len(seen(restored))
        assert restored.resumable(view.tag, view.version)
        assert not restored.resumable(view.tag, view.version + 1)
        assert restored.floor == view.stored_floor
    if edited:
        return
    # How long ended calls are remembered begins anew, so nothing is trimmed here.
    after = [step for step in after if step[0] != "trim"]
    walk(after)
    twin, rig.table = rig.table, old
    rig.seq -= len(after)
    walk(after)
    assert twin.calls == old.calls
    for view in old.views:
        assert seen(twin.view(view.scope)) == seen(view)
        assert twin.view(view.scope).version == view.version


def test_a_scope_that_was_not_stored_begins_at_nothing() -> None:
    rig = Rig()
    rig.say("setup", company_id="101")
    (call,) = rig.table.calls.values()
    table = ActiveCalls(secret=b"s" * 16, epoch="f")
    table.restore([(call, {"": 4, "101": 2})], {"": (5, 0), "104": (9, 3)}, "e", 1)
    company, quiet = table.view(Scope("101")), table.view(Scope("104"))
    assert (company.version, company.floor, seen(company)) == (2, 0, {call.key: 2})
    assert (quiet.version, quiet.floor, quiet.live) == (9, 3, 0)
    assert table.view(Scope()).version == 5


def restored(rig: Rig, *, without: str | None = None) -> ActiveCalls:
    """The table of ``rig`` after a restart; ``without``: the version of this scope was edited."""
    table, old = ActiveCalls(secret=b"s" * 16, epoch="f"), rig.table
    stored = [(call, {company: version for company, version in old.versions_of(call).items()
                      if company != without}) for call in old.calls.values()]  # fmt: skip
    scopes = {view.scope.company_id or "": (view.version, view.stored_floor) for view in old.views}
    table.restore(stored, scopes, "e", 1)
    return table


@pytest.mark.parametrize("edited", ["", "101"])
def test_a_call_of_which_one_version_is_missing_has_just_changed_there_only(edited: str) -> None:
    rig = Rig()
    rig.say("setup", "1", company_id="101")
    rig.say("setup", "2", company_id="101")
    table = restored(rig, without=edited)
    first, second = table.calls
    views = {"": table.view(Scope()), "101": table.view(Scope("101"))}
    assert sorted(seen(views.pop(edited)).values()) == [3, 4]
    (other,) = views.values()
    assert seen(other) == {first: 1, second: 2}


def test_a_call_that_had_moved_is_known_to_its_former_company_after_a_restart() -> None:
    rig = Rig()
    rig.say("setup", "1", company_id="101")
    rig.say("ringing", "1", company_id="102")
    table = restored(rig)
    (call,) = table.calls.values()
    assert table.versions_of(call) == rig.table.versions_of(call) == {"": 2, "101": 2, "102": 1}
    former = table.view(Scope("101"))
    assert (former.live, list(former.since(1))) == (0, [(call.key, None, 2)])
    assert "101" not in str(table.view(Scope("102")).rows)
    plain = Rig()
    plain.say("setup", "1", company_id="101")
    own = restored(plain)
    assert own.views._former_tenants == {}


def test_long_texts_take_their_room_after_a_restart_too() -> None:
    rig = Rig()
    rig.say("setup", "1", detail="x" * 256, **{"from": "y" * 256, "to": "z" * 256})
    assert rig.table.weights.live > 0
    assert restored(rig).weights.live == rig.table.weights.live


def test_a_company_of_which_nothing_was_stored_counts_from_one() -> None:
    rig = Rig()
    rig.say("setup", "1", company_id="101")
    (call,) = rig.table.calls.values()
    table = ActiveCalls(secret=b"s" * 16, epoch="f")
    table.restore([(call, {})], {}, "e", 1)
    assert seen(table.view(Scope("101"))) == seen(table.view(Scope())) == {call.key: 1}
