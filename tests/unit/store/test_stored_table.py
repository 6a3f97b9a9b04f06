"""A warm engine that has followed the flushes takes over with the table that it would have had by
reading all of Redis and merging it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from livestate.cluster.succession import SKIPPED
from livestate.contract.errors import SnapshotUnusable
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.view import DIGEST_MODULUS
from livestate.store import merge
from livestate.store.loader import Loaded
from livestate.store.record import decode, encode
from livestate.store.stored_table import Record, StoredTable
from tests.calls import event
from tests.promises.test_order import same

SECRET = b"s" * 16


class Pair:
    """An engine that leads, what Redis holds of it, and one that is warm and follows that."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.seq = 0
        self.leader = ActiveCalls(secret=SECRET, epoch="leader")
        self.warm = ActiveCalls(secret=SECRET, epoch="warm")
        self.redis: dict[str, bytes] = {}
        self.numbers: dict[str, int] = {}
        self.dirty: set[str] = set()
        self.happen(60)
        self.flush()
        self.stored = StoredTable(self.loaded(), self.warm, self.seq)
        self.stored.touch(tuple(self.warm.calls))

    def happen(self, events: int, heard: float = 1.0) -> None:
        """Events, of which the warm engine hears so many."""
        for _ in range(events):
            self.seq += 1
            call = self.chance.randrange(40)
            phase = self.chance.choice(
                ("setup", "ringing", "answered", "hold", "resume", "transfer", "ended")
            )
            company = self.chance.choice(("101", "102", None))
            fields: dict[str, Any] = {"company_id": company} if company else {}
            fields |= {"dialog": f"{call}.{self.seq // 150}", "call_id": f"c{call}"}
            message = event(phase, self.seq, **fields)
            for table in (self.leader, self.warm):
                if table is self.leader or self.chance.random() < heard:
                    change = table.apply(message, self.seq)
                    if change is not None and table is self.leader:
                        self.dirty.add(change.after.key)
                    elif change is not None and hasattr(self, "stored"):
                        self.stored.touch([change.after.key])
        if self.chance.random() < 0.3:
            self.dirty.update(self.leader.trim(0, 15))
            self.warm.trim(0, 12)

    def flush(self) -> list[str]:
        """Write what changed, in an order of its own; the keys."""
        keys = list(self.dirty)
        self.chance.shuffle(keys)
        for key in keys:
            call = self.leader.calls.get(key)
            if call is None:
                self.redis.pop(key, None)
            else:
                self.redis[key] = encode(call, self.leader.versions_of(call))
        for view in self.leader.views:
            company = view.scope.company_id or ""
            self.numbers[f"version:{company}"] = view.version
            if view.stored_floor:
                self.numbers[f"floor:{company}"] = view.stored_floor
        self.dirty.clear()
        return keys

    def records(self, keys: list[str]) -> list[Record]:
        return [
            Record(key, *(decode(key, self.redis[key]) if key in self.redis else (None, {})))
            for key in keys
        ]  # fmt: skip

    def follow(self, written: list[str]) -> None:
        """Read these calls in two parts, the newest state of each, as one that lags behind does."""
        keys = list(dict.fromkeys(written))
        half = self.chance.randrange(len(keys) + 1)
        for part in (keys[:half], keys[half:]):
            self.stored.put(self.records(part), self.seq)
        self.stored.put_numbers((name, str(number)) for name, number in self.numbers.items())

    def loaded(self) -> Loaded:
        calls = [decode(key, record) for key, record in self.redis.items()]
        scopes = {
            company: (self.numbers[f"version:{company}"], self.numbers.get(f"floor:{company}", 0))
            for company in (name.partition(":")[2] for name in self.numbers)
        }
        return Loaded("leader", SECRET, calls, scopes, 0, "")

    def merged_at_once(self) -> ActiveCalls:
        loaded = self.loaded()
        stored = merge.Stored(loaded.calls, loaded.scopes, loaded.epoch, loaded.secret)
        memory = merge.in_memory(self.warm, {"n1": 1})
        return merge.merged(stored, memory, "new", 1_000, self.seq, SKIPPED).table

    def take_over(self) -> None:
        self.stored.go_on(SKIPPED)
        while not self.stored.merge(self.seq, 5):
            pass
        self.stored.exchange()


def shown(table: ActiveCalls) -> dict[str, Any]:
    return {key: same(call) for key, call in table.calls.items() if call.live}


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("heard", [1.0, 0.9])
def test_following_ends_where_reading_everything_ends(seed: int, heard: float) -> None:
    pair = Pair(seed)
    late: list[str] = []
    for _ in range(pair.chance.randrange(12)):
        pair.happen(pair.chance.randrange(30), heard)
        late += pair.flush()
        if pair.chance.random() < 0.7:
            pair.follow(late)
            late = []
        pair.stored.settle(pair.chance.randrange(1, 40))
    pair.follow(late)
    pair.happen(pair.chance.randrange(20), heard)  # Redis never had these
    pair.stored.look_again()
    wanted, settled = pair.merged_at_once(), dict(pair.numbers)
    pair.take_over()
    table = pair.warm
    assert shown(table) == shown(wanted)
    for view in table.views:
        company = view.scope.company_id or ""
        versions = list(view.rows.values())
        assert versions == sorted(set(versions)), "the order of the last changes"
        holds = [at for key, at in view.rows.items()
                 if key in table.calls and view.holds(table.calls[key])]  # fmt: skip
        assert (view.live, view.digest) == (len(holds), sum(holds) % DIGEST_MODULUS)
        other = wanted.view(Scope(view.scope.company_id))
        assert view.live == other.live
        stored = settled.get(f"version:{company}", 0)
        if stored:
            assert view.predecessor is not None
            assert other.predecessor is not None
            assert view.predecessor[1] == other.predecessor[1] == stored
        changed = {key for key, at in view.rows.items() if at > SKIPPED}
        anew = {key for key, at in other.rows.items() if at > SKIPPED}
        assert changed <= anew | {key for key in changed if key not in table.calls}
        assert {key for key in anew if key in table.calls and table.calls[key].live} <= changed
        for key, at in view.rows.items():
            if at <= stored and key in other.rows and at > view.floor:
                assert other.rows[key] == at


def test_calls_that_agree_are_one_object_and_none_is_merged() -> None:
    pair = Pair(7)
    pair.happen(50)
    pair.follow(pair.flush())
    pair.stored.look_again()
    while not pair.stored.settle():
        pass
    live = [key for key, call in pair.warm.calls.items() if call.live]
    assert live
    assert all(pair.stored.table.calls[key] is pair.warm.calls[key] for key in live)
    differing = pair.stored.differing
    pair.happen(1)
    assert pair.stored.differing <= differing + 1


def test_a_call_that_was_confirmed_again_here_alone_agrees() -> None:
    """An engine that restarted marked the calls of Redis until their node listed them."""
    pair = Pair(11)
    key = next(key for key, call in pair.leader.calls.items() if call.live)
    stored = pair.leader.calls[key]
    own = stored.replaced(unconfirmed=False)
    pair.warm.calls[key] = own
    pair.stored.touch([key])
    while not pair.stored.settle():
        pass
    assert pair.stored.differing == 0
    assert pair.stored.table.calls[key].unconfirmed is None
    pair.warm.calls[key] = stored.replaced(unconfirmed=True)
    pair.stored.touch([key])
    pair.stored.settle()
    assert pair.stored.differing == 1, "clients must see that it is marked"


def test_an_edited_record_makes_the_whole_table_be_read() -> None:
    pair = Pair(3)
    key = next(key for key, call in pair.leader.calls.items() if call.live)
    call = pair.leader.calls[key]
    with pytest.raises(SnapshotUnusable):
        pair.stored.put([Record(key, call, {"": 3} if call.company_id else {})], pair.seq)
    with pytest.raises(SnapshotUnusable):
        pair.stored.put([Record(key, None, {})], pair.seq)


def test_an_evicted_company_is_forgotten_and_may_come_back() -> None:
    pair = Pair(5)
    pair.stored.put_numbers([("version:101", "")])
    assert all(view.scope.company_id != "101" for view in pair.stored.table.views)
    pair.stored.put_numbers([("version:101", "7000000"), ("floor:101", "6999999")])
    view = pair.stored.table.view(Scope("101"))
    assert (view.version, view.floor) == (7_000_000, 6_999_999)
