"""The table: who a call is, and what is forgotten when."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from livestate.contract.events import SyncedCall
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.position import position_at
from tests.calls import event

NAMES = st.text(min_size=1, max_size=20)


def make(secret: bytes = b"s" * 16) -> ActiveCalls:
    return ActiveCalls(secret=secret, epoch="e")


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=2, max_size=6, unique=True))
def test_different_dialogs_have_different_keys(identities: list[tuple[str, str, str]]) -> None:
    table = make()
    clean = {i for i in identities if not any("\0" in part for part in i)}
    for one, other in combinations(clean, 2):
        assert table.key_of(*one) != table.key_of(*other)


def test_a_key_gives_nothing_away_and_differs_by_secret() -> None:
    one, other = make(), make(b"t" * 16)
    key = one.key_of("kam-mil-1", "12.34", "secret-call-id@10.0.0.1")
    assert key != other.key_of("kam-mil-1", "12.34", "secret-call-id@10.0.0.1")
    assert len(key) == 16
    assert key.replace("-", "").replace("_", "").isalnum()


def test_the_same_call_id_in_two_companies_is_two_calls() -> None:
    table = make()
    for company, dialog in (("101", "1.1"), ("102", "2.2")):
        table.apply(event("answered", int(dialog[0]), dialog=dialog, company_id=company), 1)
    assert table.live == 2
    for company in ("101", "102"):
        assert table.view(Scope(company)).live == 1


def test_the_late_end_of_a_first_try_does_not_end_the_second() -> None:
    """A retry repeats Call-ID and From tag; only the dialog differs (seen on a real Kamailio)."""
    table = make()
    table.apply(event("setup", 1, dialog="7.1"), 1)
    table.apply(event("setup", 3, dialog="7.2"), 1)
    table.apply(event("failed", 2, dialog="7.1", outcome="busy"), 1)
    (live,) = (call for call in table.calls.values() if call.live)
    assert live.dialog == "7.2"


def test_a_call_without_a_dialog_is_never_live() -> None:
    table = make()
    refused = event("failed", 1, outcome="rejected_local").model_copy(update={"dialog": None})
    assert table.apply(refused, 1) is None
    assert table.calls == {}


def test_a_late_ringing_does_not_bring_an_ended_call_back() -> None:
    table = make()
    for phase, seq in (("setup", 1), ("answered", 3), ("ended", 4), ("ringing", 2), ("hold", 9)):
        table.apply(event(phase, seq), 1)
    assert table.live == 0
    assert table.view(Scope()).live == 0


def test_a_list_ends_what_it_lacks_but_not_what_is_newer() -> None:
    table = make()
    table.apply(event("answered", 1, dialog="1.1"), 1)
    table.apply(event("answered", 5, dialog="2.2"), 1)
    changes = list(table.sweeps.close_missing("n1", position_at(1, 3, from_sync=True), set(), 1))
    assert [change.after.conclusion for change in changes] == ["lost"]
    assert [call.dialog for call in table.calls.values() if call.live] == ["2.2"]


def test_an_event_numbered_after_the_list_shows_that_a_lost_call_lives() -> None:
    table = make()
    table.apply(event("answered", 1), 1)
    list(table.sweeps.close_missing("n1", position_at(1, 3, from_sync=True), set(), 1))
    assert table.live == 0
    table.apply(event("hold", 4), 1)
    assert table.live == 1


def test_a_call_that_was_lost_before_it_ended_is_remembered_from_its_end_on() -> None:
    table = make()
    for turn in range(3):
        table.apply(event("resume", 10 * turn + 1), turn)
        list(
            table.sweeps.close_missing(
                "n1", position_at(1, 10 * turn + 2, from_sync=True), set(), turn
            )
        )
    table.apply(event("hold", 90), 10)
    table.apply(event("ended", 91), 300)
    assert table.trim(290, 100) == []
    table.apply(event("ringing", 95), 301)
    assert table.live == 0
    assert len(table.trim(301, 100)) == 1
    assert table.calls == {}


def test_a_late_event_of_an_old_epoch_undoes_no_list() -> None:
    table = make()
    table.apply(event("answered", 5), 1)
    (key,) = table.calls
    list(table.sweeps.restarted("n1", 2, position_at(2, 0)))
    table.apply(event("ringing", 3), 3)
    assert table.calls[key].unconfirmed
    call = table.calls[key]
    item = SyncedCall(call_id=call.call_id, dialog=call.dialog, state="answered")
    position = position_at(2, 3, from_sync=True)
    table.apply_listed("n1", key, item, position, 4)
    list(table.sweeps.close_missing("n1", position, {key}, 4))
    table.apply(event("ringing", 4), 5)
    assert not table.calls[key].unconfirmed


def test_an_event_from_before_the_list_cannot_create_a_live_call() -> None:
    table = make()
    list(table.sweeps.close_missing("n1", position_at(1, 9, from_sync=True), set(), 1))
    assert table.apply(event("answered", 4), 1) is None
    assert table.live == 0
    change = table.apply(event("ended", 5, outcome="answered"), 1)
    assert change is not None  # how it ended is still a fact


def test_a_moved_call_ends_for_its_new_company_only() -> None:
    table = make()
    one, other = table.view(Scope("101")), table.view(Scope("102"))
    change = table.apply(event("answered", 1, company_id="101"), 1)
    assert change is not None
    key = change.after.key
    table.apply(event("transfer", 2, company_id="102"), 1)
    assert (one.live, other.live) == (0, 1)
    assert one.gone(key) is None
    table.apply(event("ended", 3, company_id="102"), 1)
    assert one.gone(key) is None
    assert other.gone(key) is not None


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["setup", "answered", "ended"]),
                          st.sampled_from(["101", "102", None])), max_size=60),
       st.integers(0, 5))  # fmt: skip
def test_what_is_forgotten_leaves_no_trace_but_a_floor(
    events: list[tuple[int, str, str | None]], kept: int
) -> None:
    table = make()
    for seq, (call, phase, company) in enumerate(events, 1):
        facts: dict[str, Any] = {"company_id": company} if company else {}
        table.apply(event(phase, seq, dialog=f"{call}.1", **facts), seq)
    table.trim(0, kept)
    ended = [call for call in table.calls.values() if not call.live]
    assert len(ended) <= kept
    for view in table.views:
        rows = list(view.since(view.floor))
        assert all(at > view.floor for _, _, at in rows)
        assert sum(call is not None for _, call, _ in rows) <= view.live
        assert view.digest == sum(at for _, call, at in view.snapshot() if call) % 2**53
        assert view.live == sum(1 for _ in view.snapshot())
