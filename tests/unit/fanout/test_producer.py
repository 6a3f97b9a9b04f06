"""When a view's changes become a frame, and what is in it: whole records, or changed fields."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import orjson
import pytest

from api.stream.encoder import SseEncoder
from livestate.client import Parser
from livestate.fanout import producer
from livestate.fanout.context import CommitRate
from livestate.fanout.frame import Frame
from livestate.fanout.hub import Hub
from livestate.fanout.subscriber import Subscriber
from livestate.process import slices
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.source import Source
from livestate.state.view import LONGEST_RESUME, View
from tests.calls import event
from tests.dashboards import Loop

Sent = tuple[float, str, dict[str, Any]]


class Stage:
    """A hub on a loop that stands still; ``cost``: seconds that each frame takes to encode."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.loop.now = 100.0
        self.cost = 0.0
        self.worked = 0.0
        self.seq = 0
        self.table = ActiveCalls(secret=b"s" * 16, epoch="e")
        self.encoder = SseEncoder(lambda: int(self.loop.now * 1000))
        self.hub = Hub(self.table, self.encoder, rate=CommitRate(), heartbeat_seconds=5.0,
                       loop=cast("asyncio.AbstractEventLoop", self.loop), now=100_000,
                       clock=self.work)  # fmt: skip

    def work(self) -> float:
        """Each look at the clock is one piece of work later."""
        self.worked += self.cost
        return self.worked

    def change(self, phase: str, call: int = 1, **facts: Any) -> None:
        self.seq += 1
        one = event(phase, self.seq, dialog=f"{call}.1", call_id=f"c{call}", **facts)
        change = self.table.apply(one, int(self.loop.now * 1000))
        assert change is not None
        self.hub.on_change(change)

    def watch(self, scope: Scope | None = None, *, resume: bool = True) -> Reader:
        scope = scope or Scope()
        view = self.table.view(scope)
        position = (view.tag, view.version) if resume else None
        return Reader(self, self.hub.subscribe(scope, position))


class Reader:
    """A stream that takes everything at once."""

    def __init__(self, stage: Stage, subscriber: Subscriber) -> None:
        self.stage = stage
        self.sent: list[Sent] = []
        self.subscriber = subscriber
        self.write(subscriber.next_frames())
        subscriber.attach(self)

    def ready(self) -> bool:
        return True

    def write(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            for one in Parser().feed(frame):
                at = round(self.stage.loop.now - 100.0, 6)
                self.sent.append((at, one.name, orjson.loads(one.data)))

    @property
    def times(self) -> list[float]:
        return [at for at, name, _ in self.sent if name == "diff"]

    @property
    def diffs(self) -> list[dict[str, Any]]:
        """Of each diff its calls, by "state" or the names of what it carries."""
        return [data["calls"] for _, name, data in self.sent if name == "diff"]

    @property
    def beats(self) -> list[float]:
        return [at for at, name, _ in self.sent if name == "heartbeat"]


# -- when ----------------------------------------------------------------------------------------


def test_the_first_change_after_a_quiet_time_goes_out_at_once_then_at_a_rate() -> None:
    stage = Stage()
    reader = stage.watch()
    stage.change("setup")
    assert reader.times == [], "changes that were read together share one frame"
    stage.change("setup", 2)
    stage.loop.advance(0)
    assert reader.times == [0.0]
    assert len(reader.diffs[0]) == 2
    stage.change("ringing")
    stage.loop.advance(0.003)
    stage.change("answered")
    assert reader.times == [0.0]
    stage.loop.advance(1.0)
    assert reader.times == [0.0, 0.04]
    stage.change("hold")
    stage.loop.advance(0)
    assert reader.times == [0.0, 0.04, 1.003]
    assert stage.hub.context.commits == 3


def test_a_costly_frame_makes_the_next_one_wait() -> None:
    stage = Stage()
    reader = stage.watch()
    stage.cost = 0.01  # a look at the clock
    stage.change("setup")
    stage.loop.advance(0)
    cost = stage.worked
    stage.change("ringing")
    stage.loop.advance(1.0)
    pause = reader.times[1] - reader.times[0]
    assert 4 * 0.01 < pause <= 4 * cost
    assert pause == pytest.approx(4 * 0.02), "encoded in one look, delivered in one"


def test_a_view_of_which_the_last_stream_has_left_does_nothing() -> None:
    stage = Stage()
    reader = stage.watch()
    stage.change("setup")
    assert stage.table.view(Scope()).watched
    reader.subscriber.leave()
    assert not stage.loop.timers
    assert not stage.table.view(Scope()).watched
    assert (stage.hub.producers, stage.hub.distributors) == ({}, {})
    stage.change("ringing")
    assert not stage.loop.timers
    again = stage.watch(resume=False)
    assert [name for _, name, _ in again.sent] == ["snapshot"]
    stage.change("answered")
    stage.loop.advance(0.01)
    assert [list(diff.values()) for diff in again.diffs] == [[{"state": "answered", "v": 3}]]


def test_a_delivery_that_ends_after_the_last_stream_has_left_plans_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", -1.0)  # one step a round
    stage = Stage()
    readers = [stage.watch() for _ in range(45)]
    stage.change("setup")
    stage.hub.producers[stage.table.view(Scope())].commit()
    assert 0 < sum(len(reader.sent) for reader in readers) < 45
    stage.change("ringing")
    for reader in readers:
        reader.subscriber.leave()
    stage.loop.advance(1.0)
    assert not stage.loop.timers
    assert stage.hub.context.commits == 1


def test_a_long_commit_that_waits_for_its_turn_is_planned_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(producer, "DIFF_AT_ONCE", 5)
    stage = Stage()
    reader = stage.watch()
    for call in range(6):
        stage.change("setup", call)
    made = stage.hub.producers[stage.table.view(Scope())]
    made.commit()
    made.commit()
    assert stage.hub.context.commits == 0, "it takes its turn with those of other views"
    stage.loop.advance(1.0)
    assert [len(diff) for diff in reader.diffs] == [5, 1]
    assert stage.hub.context.commits == 2


def test_a_heartbeat_of_one_version_is_encoded_once_for_all_that_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    made: list[int] = []
    encode = stage.encoder.heartbeat

    def heartbeat(view: View, source: Source) -> Frame:
        made.append(view.version)
        return encode(view, source)

    monkeypatch.setattr(stage.encoder, "heartbeat", heartbeat)
    stage.watch()
    view = stage.table.view(Scope())

    def join() -> None:
        one = stage.hub.subscribe(Scope(), (view.tag, view.version))
        one.heartbeat_due = True
        assert one.next_frames()[-1].startswith(b"event: heartbeat")

    join()
    join()
    assert made == [0]
    stage.change("setup")
    join()
    join()
    assert made == [0, 1]
    stage.hub.producers[view].send_heartbeat()
    assert made == [0, 1, 1], "each time that one is due it says what is true then"


def test_a_heartbeat_comes_every_five_seconds_after_what_changed_before_it() -> None:
    stage = Stage()
    reader = stage.watch()
    stage.loop.advance(4.999)
    assert reader.sent == []
    stage.change("setup")
    stage.hub.producers[stage.table.view(Scope())].send_heartbeat()
    assert [name for _, name, _ in reader.sent] == ["diff", "heartbeat"]
    assert reader.sent[1][2]["calls"] == 1
    stage.loop.advance(10.002)
    assert reader.beats == [4.999, 5.0, 10.0, 15.0]
    assert [data["version"] for _, name, data in reader.sent if name == "heartbeat"] == [1] * 4


def test_a_source_that_becomes_stale_or_live_is_shown_to_all_at_once() -> None:
    stage = Stage()
    readers = [stage.watch(), stage.watch(Scope("101"))]

    def shown() -> list[list[str]]:
        return [[data["source"] for _, name, data in reader.sent if name == "heartbeat"]
                for reader in readers]  # fmt: skip

    stage.hub.update_source(Source(), 100_100)
    assert shown() == [[], []]
    stage.hub.update_source(Source(90_000), 100_200)
    assert stage.hub.source == Source(90_000)
    assert shown() == [["stale"], ["stale"]]
    stage.hub.update_source(Source(90_000), 100_300)
    assert shown() == [["stale"], ["stale"]]
    stage.hub.update_source(Source(), 100_400)
    assert shown() == [["stale", "live"]] * 2
    stage.loop.now += 3.001
    stage.hub.update_source(Source(), 103_500)
    assert shown() == [["stale", "live", "live"]] * 2, "it may have been shown as stale meanwhile"


# -- what ----------------------------------------------------------------------------------------


def only(reader: Reader) -> dict[str, Any]:
    """The record in the last diff, without its version."""
    (record,) = reader.diffs[-1].values()
    return {name: value for name, value in record.items() if name != "v"}


def test_a_frame_has_the_fields_that_changed_and_whole_records_where_a_client_may_lack_some() -> (
    None
):
    stage = Stage()
    everything = stage.watch()
    company, moved_to = stage.watch(Scope("101")), stage.watch(Scope("102"))
    talking = stage.watch(Scope(states=frozenset({"answered"})))
    stage.change("setup", company_id="101", trunk="a")
    stage.loop.advance(1)
    whole = {"state": "trying", "node": "n1", "call_id": "c1", "company_id": "101", "trunk": "a"}
    assert only(everything) == only(company) == whole
    stage.change("ringing")
    stage.loop.advance(1)
    assert only(everything) == only(company) == {"state": "ringing"}
    stage.change("answered")
    stage.loop.advance(1)
    assert only(everything) == {"state": "answered"}
    assert only(talking) == whole | {"state": "answered"}, "it is new in this view"
    # Changed twice since the last frame: a field that went there and back would be missing.
    stage.change("hold", trunk="b")
    stage.change("resume", trunk="a")
    stage.loop.advance(1)
    assert only(everything) == only(company) == whole | {"state": "answered"}
    stage.change("hold")
    stage.loop.advance(1)
    assert only(everything) == {"state": "held"}
    assert talking.diffs[-1] == dict.fromkeys(stage.table.calls)
    stage.change("resume", company_id="102")
    stage.loop.advance(1)
    assert only(everything) == {"state": "answered", "company_id": "102"}
    assert only(moved_to) == whole | {"state": "answered", "company_id": "102"}
    assert company.diffs[-1] == dict.fromkeys(stage.table.calls)


def test_many_changes_go_out_in_frames_of_five_hundred_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert producer.DIFF_AT_ONCE == 500
    monkeypatch.setattr(producer, "DIFF_AT_ONCE", 5)
    stage = Stage()
    reader = stage.watch()
    for call in range(5):
        stage.change("setup", call)
    stage.loop.advance(0.5)
    assert [len(diff) for diff in reader.diffs] == [5]
    for call in range(12):
        stage.change("ringing" if call < 5 else "setup", call)
    stage.loop.advance(0.5)
    assert [len(diff) for diff in reader.diffs] == [5, 5, 5, 2]
    assert [len(record) for record in reader.diffs[1].values()] == [2] * 5, "changed fields"
    late = stage.hub.subscribe(Scope(), (stage.table.view(Scope()).tag, 1))
    frames = late.next_frames()
    assert [frame.to_version for frame in frames] == [10]


def test_where_most_has_changed_a_client_takes_the_shared_snapshot() -> None:
    stage = Stage()
    stage.watch()
    calls = LONGEST_RESUME + 3
    for call in range(calls):
        stage.change("setup", call)
    made = stage.hub.producers[stage.table.view(Scope())]
    tag = stage.table.view(Scope()).tag
    assert not made.can_resume(tag, 2)
    assert made.can_resume(tag, 3)
    assert not made.can_resume("foreign", 8)
    assert (made.tag, made.version, made.floor, made.calls) == (tag, calls, 0, calls)
    assert not made.filtered


def test_encoded_records_of_ended_calls_are_forgotten_and_unused_ones_evicted() -> None:
    stage = Stage()
    stage.change("setup", 1)
    stage.change("setup", 2)
    stage.watch(resume=False)
    records = stage.encoder.records
    assert len(records) == 2
    stage.change("ended", 1)
    assert len(records) == 1
    stage.hub.evict_unused()
    assert len(records) == 1
    stage.hub.evict_unused()
    assert len(records) == 0
