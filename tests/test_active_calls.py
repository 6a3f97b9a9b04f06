"""The table: who a call is, and what is forgotten when."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from livestate.access import Scope
from livestate.active_calls import ActiveCalls
from livestate.call import stamp_of
from livestate.diff import record
from livestate.events import SyncedCall
from livestate.stored import decode, encode
from livestate.view import View
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
    changes = list(table.close_missing("n1", stamp_of(1, 3, listed=True), set(), 1))
    assert [change.after.conclusion for change in changes] == ["lost"]
    assert [call.dialog for call in table.calls.values() if call.live] == ["2.2"]


def test_an_event_numbered_after_the_list_shows_that_a_lost_call_lives() -> None:
    table = make()
    table.apply(event("answered", 1), 1)
    list(table.close_missing("n1", stamp_of(1, 3, listed=True), set(), 1))
    assert table.live == 0
    table.apply(event("hold", 4), 1)
    assert table.live == 1


def test_a_call_that_was_lost_before_it_ended_is_remembered_from_its_end_on() -> None:
    table = make()
    for turn in range(3):
        table.apply(event("resume", 10 * turn + 1), turn)
        list(table.close_missing("n1", stamp_of(1, 10 * turn + 2, listed=True), set(), turn))
    table.apply(event("hold", 90), 10)
    table.apply(event("ended", 91), 300)
    assert table.trim(290, 100) == []
    table.apply(event("ringing", 95), 301)
    assert table.live == 0
    assert len(table.trim(301, 100)) == 1
    assert table.calls == {}


def test_a_late_word_from_before_a_restart_takes_nothing_back_that_the_list_has_told() -> None:
    table = make()
    table.apply(event("answered", 5), 1)
    (key,) = table.calls
    list(table.restarted("n1", 2, stamp_of(2, 0)))
    table.apply(event("ringing", 3), 3)
    assert table.calls[key].unconfirmed
    call = table.calls[key]
    item = SyncedCall(call_id=call.call_id, dialog=call.dialog, state="answered")
    stamp = stamp_of(2, 3, listed=True)
    table.apply_listed("n1", key, item, stamp, 4)
    list(table.close_missing("n1", stamp, {key}, 4))
    table.apply(event("ringing", 4), 5)
    assert not table.calls[key].unconfirmed


def test_an_event_from_before_the_list_cannot_create_a_live_call() -> None:
    table = make()
    list(table.close_missing("n1", stamp_of(1, 9, listed=True), set(), 1))
    assert table.apply(event("answered", 4), 1) is None
    assert table.live == 0
    told = table.apply(event("ended", 5, outcome="answered"), 1)
    assert told is not None  # how it ended is still a fact


def test_a_move_is_gone_here_and_new_there_and_its_end_is_told_there_only() -> None:
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
    told: list[tuple[int, str, str | None]], kept: int
) -> None:
    table = make()
    for seq, (call, phase, company) in enumerate(told, 1):
        facts: dict[str, Any] = {"company_id": company} if company else {}
        table.apply(event(phase, seq, dialog=f"{call}.1", **facts), seq)
    table.trim(0, kept)
    ended = [call for call in table.calls.values() if not call.live]
    assert len(ended) <= kept
    for view in table.views():
        rows = list(view.since(view.floor))
        assert all(at > view.floor for _, _, at in rows)
        assert sum(call is not None for _, call, _ in rows) <= view.live
        assert view.digest == sum(at for _, call, at in view.snapshot() if call) % 2**53
        assert view.live == sum(1 for _ in view.snapshot())


# -- across a restart of ours -----------------------------------------------------------------

COMPANIES = ("101", "102")
EVERY_SCOPE = (
    Scope(), *map(Scope, COMPANIES), Scope("101", states=frozenset({"held"})),
    Scope(trunks=frozenset({"gw-a"})),
)  # fmt: skip


def shown(table: ActiveCalls, scope: Scope) -> dict[str, dict[str, Any]]:
    """What a dashboard of this scope must show, the naive way, without versions."""
    return {
        key: record(call)
        for key, call in table.calls.items()
        if call.live and scope.admits(call)
    }  # fmt: skip


class Folder:
    """A dashboard that reads a view directly: whole records, removals, a position."""

    def __init__(self, view: View) -> None:
        self.scope, self.tag, self.version = view.scope, view.tag, view.version
        self.rows = {key: (record(call), at) for key, call, at in view.snapshot()}

    def resume(self, view: View) -> None:
        """As the stream does: a diff if the position fits, else all anew."""
        if not view.resumable(self.tag, self.version):
            self.__init__(view)  # type: ignore[misc]
            return
        for key, call, at in view.since(self.version):
            if call is None:
                self.rows.pop(key, None)
            else:
                known = self.rows.get(key, ({}, 0))[0]
                self.rows[key] = (known | record(call), at)
        self.tag, self.version = view.tag, view.version

    def is_right(self, table: ActiveCalls) -> None:
        view = table.view(self.scope)
        assert {key: told for key, (told, _) in self.rows.items()} == shown(table, self.scope)
        assert len(self.rows) == view.live
        assert sum(at for _, at in self.rows.values()) % 2**53 == view.digest


def restarted(old: ActiveCalls, epoch: str) -> ActiveCalls:
    """The same calls in another process, by way of what was stored of each."""
    table = make_named(epoch)
    stored = [(key, encode(call, old.versions_of(call))) for key, call in old.calls.items()]
    scopes = {
        view.scope.company_id or "": (view.version, view.stored_floor)
        for view in old.views() if not view.scope.filtered
    }  # fmt: skip
    table.restore([decode(*one) for one in stored], scopes, old.epoch, 1)
    return table


def make_named(epoch: str) -> ActiveCalls:
    return ActiveCalls(secret=b"s" * 16, epoch=epoch)


HAPPENS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.sampled_from(["setup", "ringing", "answered", "hold", "resume", "ended"]),
        st.sampled_from([None, "101", "102"]),
        st.sampled_from([None, "gw-a", "gw-b"]),
        st.sampled_from(["go on", "go on", "go on", "read", "join", "restart", "trim"]),
    ),
    min_size=1,
    max_size=40,
)


def tell(table: ActiveCalls, seq: int, call: int, phase: str, **facts: str | None) -> None:
    known = {name: value for name, value in facts.items() if value is not None}
    table.apply(event(phase, seq, dialog=f"{call}.1", call_id=f"c{call}", **known), seq)


@given(HAPPENS, st.sampled_from(EVERY_SCOPE), st.integers(0, 3))
@example(
    happens=[
        (5, "setup", "102", None, "go on"),
        (1, "setup", None, None, "join"),  # by a client of 102
        (5, "ended", None, None, "go on"),
        (1, "ended", None, None, "trim"),
        (1, "setup", None, None, "restart"),
    ],
    first=Scope(),
    kept=1,
)
@example(  # a filter is asked for before the company's first call
    happens=[
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "join"),
        (1, "setup", "101", None, "restart"),
    ],
    first=Scope("101", states=frozenset({"held"})),
    kept=0,
)
@example(  # a forgotten call's name begins a new one, of which less is known
    happens=[
        (2, "setup", None, None, "go on"),
        (1, "setup", None, None, "restart"),
        (1, "ended", None, None, "go on"),
        (1, "setup", None, None, "go on"),
        (1, "setup", None, None, "join"),  # by a client of all calls, who is away from now on
        (1, "setup", None, None, "go on"),
        (2, "ended", None, None, "restart"),
        (1, "setup", None, None, "trim"),
        (2, "setup", None, None, "go on"),
    ],
    first=Scope(),
    kept=1,
)
@settings(max_examples=400, deadline=None)
def test_a_client_is_right_after_any_restarts_of_ours(
    happens: list[tuple[int, str, str | None, str | None, str]], first: Scope, kept: int
) -> None:
    """Joins, misses some, and comes back with a position of this process or of the one before."""
    table = make_named("e0")
    folders = [Folder(table.view(first))]
    restarts = 0
    for seq, (call, phase, company, trunk, then) in enumerate(happens, 1):
        tell(table, seq, call, phase, company_id=company, trunk=trunk)
        if then == "join":
            folders.append(Folder(table.view(EVERY_SCOPE[seq % len(EVERY_SCOPE)])))
        elif then == "trim":
            table.trim(0, kept)
        elif then == "restart":
            restarts += 1
            table = restarted(table, f"e{restarts}")
        if then in ("read", "restart"):
            for folder in folders[:: 1 + seq % 2]:
                folder.resume(table.view(folder.scope))
                folder.is_right(table)
    for folder in folders:
        folder.resume(table.view(folder.scope))
        folder.is_right(table)


def test_a_filter_asked_for_before_a_companys_first_call_does_not_spoil_its_numbers() -> None:
    """What is stored of a call is where its company's view saw it, not where the filter did."""
    table = make_named("e0")
    table.view(Scope("101", states=frozenset({"held"})))
    for seq, phase in enumerate(("setup", "ringing", "answered"), 1):
        tell(table, seq, 1, phase, company_id="101")
    (call,) = table.calls.values()
    assert table.versions_of(call)["101"] == table.view(Scope("101")).rows[call.key]
