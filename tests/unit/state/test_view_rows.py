"""One scope's rows against a model that keeps every change; what a client can resume from.

:class:`History` is naive: it answers each question by a walk over all changes that there ever were.
"""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state import narrowed as narrowing
from livestate.state import view as module
from livestate.state.access import Scope
from livestate.state.call import Call, begin
from livestate.state.view import View
from tests.calls import event
from tests.examples import examples

UP, OVER = (begin("k", event(phase, 1, company_id="101")) for phase in ("answered", "ended"))


class History:
    """All changes of a scope: (version, key, whether the call is in it, when)."""

    def __init__(self, first: int = 0) -> None:
        self.changes: list[tuple[int, str, bool, int]] = []
        self.version = self.floor = first
        self.trimmed: set[int] = set()
        self.queue: list[tuple[int, int]] = []  # tombstones: (when, version)

    def last(self) -> dict[str, tuple[int, bool]]:
        """key → version and state at its last change, in the order of those."""
        found: dict[str, tuple[int, bool]] = {}
        for version, key, is_in, _ in self.changes:
            found.pop(key, None)
            found[key] = version, is_in
        return {key: one for key, one in found.items() if one[0] not in self.trimmed}

    def change(self, key: str, is_in: bool, now: int) -> None:
        self.version += 1
        self.changes.append((self.version, key, is_in, now))
        if not is_in:
            self.queue.append((now, self.version))

    def since(self, version: int) -> list[tuple[str, bool, int]]:
        return [(key, is_in, at) for key, (at, is_in) in self.last().items() if at > version]

    def trim(self, older_than: int, at_most: int, limit: int) -> int:
        looked = 0
        while looked < limit and self.queue and (
            self.queue[0][0] < older_than or len(self.queue) > at_most
        ):  # fmt: skip
            looked += 1
            _, version = self.queue.pop(0)
            if version in {at for at, _ in self.last().values()}:
                self.trimmed.add(version)
                self.floor = max(self.floor, version)
        return looked


class Pair:
    """A view and its history, told the same."""

    def __init__(self, first: int = 0) -> None:
        self.calls: dict[str, Call] = {}
        self.view = View(Scope("101"), "tag", self.calls, first)
        self.history = History(first)

    def change(self, key: str, is_in: bool, now: int = 0) -> None:
        was = key in self.calls and self.calls[key].live
        self.calls[key] = UP if is_in else OVER
        self.view.record_change(key, was, is_in, now)
        self.history.change(key, is_in, now)

    def check(self) -> None:
        view, history = self.view, self.history
        last = history.last()
        up = {key: at for key, (at, is_in) in last.items() if is_in}
        assert list(view.rows.items()) == [(key, at) for key, (at, _) in last.items()]
        assert (view.version, view.floor, view.live) == (history.version, history.floor, len(up))
        assert view.digest == sum(up.values()) % 2**53
        assert [(key, at) for key, _, at in view.snapshot()] == list(up.items())
        assert list(view.cut()) == list(view.snapshot())
        for version in range(history.floor, history.version + 1):
            wanted = history.since(version)
            found = [(key, call is not None, at) for key, call, at in view.since(version)]
            assert found == wanted[::-1]
            for most in (1, 3, 100):
                oldest = [(key, call is not None, at)
                          for key, call, at in view.oldest(version, most)]  # fmt: skip
                assert oldest == wanted[:most]


STEPS = st.lists(
    st.tuples(st.sampled_from(["in", "in", "out", "trim", "wait"]), st.sampled_from("abcde"),
              st.integers(0, 4), st.integers(0, 3)),
    max_size=30,
)  # fmt: skip


@pytest.mark.parametrize("first", [0, 2**53 - 20])
@settings(max_examples=examples(150), deadline=None)
@given(steps=STEPS)
def test_a_view_answers_as_its_whole_history_would(
    first: int, steps: list[tuple[str, str, int, int]]
) -> None:
    pair, now = Pair(first), 100
    for step, key, number, limit in steps:
        if step == "in":
            pair.change(key, True, now)
        elif step == "out" and key in pair.calls:
            pair.change(key, False, now)
        elif step == "trim":
            looked = pair.view.trim(now - 3 + number, number, limit)
            assert looked == pair.history.trim(now - 3 + number, number, limit)
            assert pair.view.stored_floor >= pair.view.floor
        elif step == "wait":
            now += number
        pair.check()


def test_many_rows_are_copied_so_that_a_snapshot_is_of_its_moment() -> None:
    for rows in (1_999, 2_000, 2_001):
        pair = Pair()
        for number in range(rows):
            pair.change(f"k{number}", number % 10 != 0)
        wanted = [(key, at) for key, _, at in pair.view.snapshot()]
        cut = pair.view.cut()
        pair.change("k1", False)
        pair.change("k2", True)
        pair.change("new", True)
        assert [(key, at) for key, _, at in cut] == wanted, rows
        assert all(call is UP for _, call, _ in pair.view.cut())


# -- positions -----------------------------------------------------------------------------------


def test_a_client_resumes_between_the_floor_and_the_newest_version_of_its_numbering() -> None:
    pair = Pair()
    for key in "abc":
        pair.change(key, True)
    pair.change("a", False)
    pair.view.trim(1, 0, 10)
    view = pair.view
    assert (view.floor, view.version) == (4, 4)
    pair.change("d", True)
    assert [view.resumable("tag", version) for version in (3, 4, 5, 6)] == [
        False,
        True,
        True,
        False,
    ]
    assert not view.resumable("other", 4)
    view.predecessor = "before", 4
    assert [view.resumable("before", version) for version in (3, 4, 5)] == [False, True, False]
    assert not view.resumable("other", 4)


def test_a_key_that_is_reused_raises_the_floor_to_its_tombstone() -> None:
    pair = Pair()
    pair.change("a", True)
    pair.change("b", True)
    pair.change("a", False)
    pair.change("c", True)
    pair.view.reset_key("never seen")
    assert pair.view.floor == 0
    pair.view.reset_key("a")
    assert pair.view.floor == 3
    pair.view.reset_key("b")
    assert pair.view.floor == 3


def test_a_call_that_the_table_forgets_cannot_be_resumed_after_our_restart() -> None:
    pair = Pair()
    pair.change("a", True)
    pair.change("a", False)
    pair.change("b", True)
    pair.view.forget("never seen")
    assert pair.view.stored_floor == 0
    pair.view.forget("a")
    assert (pair.view.stored_floor, pair.view.floor) == (2, 0)
    pair.view.trim(1, 0, 10)
    assert (pair.view.stored_floor, pair.view.floor) == (2, 2)


def test_far_behind_is_more_than_five_thousand_rows_and_more_than_half() -> None:
    assert module.LONGEST_RESUME == 5_000
    pair = Pair()
    for number in range(10_001):
        pair.change(f"k{number}", True)
    for version, far in ((0, True), (5_000, True), (5_001, False), (10_001, False)):
        assert pair.view.far_behind(version) is far, version
    more = Pair()
    for number in range(10_002):
        more.change(f"k{number}", True)
    assert more.view.far_behind(5_000)
    assert not more.view.far_behind(5_001), "just half of them"
    few = Pair()
    for _ in range(6_000):
        few.change("a", True)
    assert not few.view.far_behind(0), "one call changed six thousand times: one row"
    for number in range(4_999):
        few.change(f"k{number}", True)
    assert not few.view.far_behind(0)
    few.change("one more", True)
    assert few.view.far_behind(0)


# -- filtered views ------------------------------------------------------------------------------


@pytest.mark.parametrize("resumed", [0, 2, 100])
def test_a_filtered_view_has_the_versions_of_the_one_that_it_narrows(
    resumed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "RESUMED_ROWS", resumed)
    calls: dict[str, Call] = {}
    base = View(Scope(), "base", calls)
    base.predecessor = "before", 3
    for number, (phase, company, trunk) in enumerate([
        ("answered", "101", "a"), ("ringing", "101", "a"), ("answered", "102", "a"),
        ("answered", "101", "b"), ("ended", "101", "a"), ("answered", "101", "a"),
    ]):  # fmt: skip
        key = f"k{number}"
        calls[key] = begin(key, event(phase, number + 1, company_id=company, trunk=trunk))
        base.record_change(key, False, calls[key].live, 0)
    for scope, keys in (
        (Scope(states=frozenset({"answered"})), ["k0", "k2", "k3", "k5"]),
        (Scope(trunks=frozenset({"a"})), ["k0", "k1", "k2", "k5"]),
        (Scope("101", frozenset({"answered"}), frozenset({"a"})), ["k0", "k5"]),
        (Scope("101", trunks=frozenset({"a", "b"})), ["k0", "k1", "k3", "k5"]),
        (Scope("103", frozenset({"answered"})), []),
    ):
        filtered = narrowing.narrowed(base, scope, calls)
        assert filtered.filtered
        shown = [(key, at) for key, _, at in filtered.snapshot()]
        assert shown == [(key, base.rows[key]) for key in keys]
        assert (filtered.version, filtered.live) == (base.version, len(keys))
        assert filtered.digest == sum(at for _, at in shown)
        # A client at any version gets what has changed since, or a snapshot.
        for version in range(base.version + 1):
            late = {key for key, at in base.rows.items() if at > version}
            if version >= filtered.floor:
                assert {key for key, _, _ in filtered.since(version)} == late & (
                    set(list(base.rows)[-resumed:] if resumed else ()) | set(keys)
                )
                assert late <= set(filtered.rows), "none of them is missing"
        assert filtered.floor == (0 if resumed == 100 else filtered.floor)
        assert filtered.predecessor == (narrowing.narrowed_tag("before", scope), 3)
    assert not base.filtered


def test_how_a_call_ended_is_shown_to_its_own_company_only() -> None:
    calls: dict[str, Call] = {}
    views = [View(scope, "t", calls) for scope in (Scope(), Scope("101"), Scope("102"))]
    calls["up"] = begin("up", event("answered", 1, company_id="101"))
    calls["over"] = begin("over", event("ended", 1, company_id="101"))
    assert [view.gone("over") is calls["over"] for view in views] == [True, True, False]
    assert [view.gone(key) for view in views for key in ("up", "forgotten")] == [None] * 6


# -- after a restart -----------------------------------------------------------------------------


def test_what_was_stored_of_a_view_goes_on_where_it_was() -> None:
    calls = dict.fromkeys("abcd", UP) | {"gone": OVER, "old": OVER}
    view = View(Scope(), "t", calls)
    view.floor = 5
    stored = [(3, "a", True), (5, "old", False), (6, "gone", False), (9, "b", True),
              (12, "c", True)]  # fmt: skip
    deque(view.restoring(stored, 10, 777), 0)
    assert view.rows == {"a": 3, "gone": 6, "b": 9, "c": 12}, "a tombstone below the floor is gone"
    assert (view.version, view.live, view.digest) == (12, 3, 24), "a flush was cut off at 10"
    assert (view.floor, view.stored_floor) == (5, 5)
    assert list(view._gone) == [(777, "gone", 6)]
    view.trim(778, 10, 10)
    assert view.floor == 6


def test_a_call_without_its_version_has_just_changed() -> None:
    calls = dict.fromkeys("abc", UP)
    view = View(Scope(), "t", calls)
    deque(view.restoring([(0, "b", True), (0, "c", True), (4, "a", True)], 10, 777), 0)
    assert view.rows == {"a": 4, "b": 11, "c": 12}
    assert (view.version, view.live, view.digest) == (12, 3, 27)
    assert [key for key, _, _ in view.since(10)] == ["c", "b"], "a client at 10 gets both"
    huge = View(Scope(), "t", {"a": UP, "b": UP})
    deque(huge.restoring([(2**53 - 1, "a", True), (5, "b", True)], 10, 777), 0)
    assert huge.digest == 4


def test_a_tombstone_is_trimmed_when_it_is_older_than_asked_and_no_more_than_asked() -> None:
    assert View(Scope(), "t", {}).version == View(Scope(), "t", {}).floor == 0
    pair = Pair()
    for key in "abc":
        pair.change(key, True, 100)
        pair.change(key, False, 100)
    assert pair.view.trim(100, 3, 10) == 0
    assert pair.view.trim(101, 3, 2) == 2
    assert (pair.view.floor, pair.view.stored_floor, len(pair.view.rows)) == (4, 4, 1)
    assert pair.view.trim(0, 1, 10) == 0
    assert pair.view.trim(0, 0, 0) == 0
    assert pair.view.trim(0, 0, 10) == 1
    assert (pair.view.floor, pair.view.stored_floor) == (6, 6)
