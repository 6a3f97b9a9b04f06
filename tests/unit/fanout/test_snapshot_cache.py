"""Snapshots: made once for all that join, and few of them in memory; all bounds by their value."""

from __future__ import annotations

import gc

from tests.unit.fanout.numbers import Numbers, Stage, framed

PARTS = sum(len(framed("snapshot", 10, part)) for part in (1, 2, 3))


def large(*, room: int = 128_000_000, filtered: bool = False) -> Stage:
    source = Numbers(calls=401)
    source.filtered = filtered
    stage = Stage(source, room=room)
    stage.loop.now = 100.0
    return stage


def whole(version: int) -> list[str]:
    return [f"snapshot {version} {part}" for part in (1, 2, 3)]


# -- small ones ----------------------------------------------------------------------------------


def test_a_snapshot_serves_all_that_join_within_a_quarter_second() -> None:
    stage = Stage(Numbers(calls=400))
    stage.loop.now = 100.0
    assert stage.join().got == whole(10)
    stage.change()
    stage.loop.now = 100.2499
    assert stage.join().got == [*whole(10), "live 10 11"]
    stage.loop.now = 100.25
    assert stage.join().got == whole(11)
    assert (stage.source.snapshots, stage.context.snapshots) == (2, 2)
    stage.loop.now = 900.0
    assert stage.join().got == whole(11)
    assert stage.source.snapshots == 2, "nothing has changed since"
    stage.source.floor = 11
    assert stage.join().got == whole(11)
    stage.source.version = stage.source.floor = 12
    assert stage.join().got == whole(12), "below the floor it leads to no diff"
    assert stage.source.snapshots == 3


def test_a_heartbeat_lets_go_of_a_snapshot_that_is_not_fresh() -> None:
    stage = Stage(Numbers(calls=400))
    stage.loop.now = 100.0
    stage.join()
    stage.loop.now = 100.2499
    stage.distributor.send_heartbeat(stage.source.heartbeat())
    stage.join()
    assert stage.source.snapshots == 1
    stage.loop.now = 100.25
    stage.distributor.send_heartbeat(stage.source.heartbeat())
    stage.join()
    assert stage.source.snapshots == 2


# -- large ones ----------------------------------------------------------------------------------


def test_a_large_snapshot_is_made_once_for_all_that_wait_and_what_changed_follows() -> None:
    stage = large()
    early = [stage.join() for _ in range(3)]
    assert [screen.got for screen in early] == [[], [], []]
    stage.change()
    gone = stage.join()
    gone.subscriber.leave()
    late = stage.join()
    stage.loop.advance(0)
    stage.loop.advance(0.2)
    for screen in (*early, late):
        assert screen.got == [*whole(10), "live 10 11"]
    assert gone.got == []
    assert (stage.source.snapshots, stage.context.snapshots) == (1, 1)
    assert stage.source.encoded == []


def test_a_large_snapshot_without_waiters_is_abandoned() -> None:
    stage = large()
    stage.join().subscriber.leave()
    stage.loop.advance(0.1)
    assert stage.context.snapshot_bytes == 0
    again = stage.join()
    stage.loop.advance(0.1)
    assert again.got == whole(10)
    assert stage.source.snapshots == 2


def test_three_large_snapshots_of_a_view_are_read_at_once_then_the_latest_serves() -> None:
    stage = large()
    kept = []
    for number in range(3):
        held = stage.distributor.subscribe(None)
        assert held.next_frames() == []
        held.attach(Held(kept))
        stage.loop.advance(1.0)
        assert stage.source.snapshots == number + 1
        assert stage.context.snapshot_bytes == PARTS * (number + 1)
        stage.change()
    screen = stage.join()
    assert screen.got == [*whole(12), "live 12 13"], "there is no room for a fourth"
    stage.distributor.send_heartbeat(stage.source.heartbeat())
    assert stage.join().got[:3] == whole(12), "it is not let go of: no other could be made"
    del kept[0]
    gc.collect()
    assert stage.context.snapshot_bytes == 2 * PARTS
    assert stage.join().got == [], "one has been read: a new one is made"
    stage.loop.advance(1.0)
    assert stage.source.snapshots == 4


class Held:
    """A slow client: it reads the parts of a snapshot, and is not ready until they are dropped."""

    def __init__(self, kept: list[object]) -> None:
        self.kept = kept
        self.wrote = False

    def ready(self) -> bool:
        return not self.wrote

    def write(self, frames: list[object]) -> None:  # type: ignore[override]
        if frames:
            self.wrote = True
            self.kept.append(frames)


def hold(stage: Stage, kept: list[object]) -> Held:
    outlet = Held(kept)
    subscriber = stage.distributor.subscribe(None)
    outlet.write(list(subscriber.next_frames()))
    subscriber.attach(outlet)  # type: ignore[arg-type]
    stage.loop.advance(1.0)
    return outlet


def test_where_no_snapshot_may_be_made_a_stream_is_asked_to_come_back() -> None:
    stage = large(room=PARTS)
    kept: list[object] = []
    hold(stage, kept)
    stage.source.version = stage.source.floor = 20
    stage.commit()
    screen = stage.join()
    assert (screen.got, screen.ends) == ([], []), "its response has no head yet"
    stage.loop.advance(0.001)
    assert screen.ends == ["overload"]
    assert not screen.subscriber.subscribed


def test_a_snapshot_that_leads_to_no_diff_takes_no_room_from_the_next_one() -> None:
    stage = large(room=PARTS)
    screen = stage.join()
    stage.loop.advance(1.0)
    assert screen.got == whole(10)
    stage.source.version = stage.source.floor = 20
    stage.context.snapshot_bytes += 1_000  # clients of other views read theirs
    late = stage.join()
    stage.loop.advance(1.0)
    assert (late.got, late.ends) == (whole(20), [])


def test_streams_that_read_a_snapshot_that_is_too_old_make_room() -> None:
    stage = large(room=PARTS)
    kept: list[object] = []
    first = hold(stage, kept)
    reader = next(iter(stage.distributor.subscribers))
    ends: list[object] = []
    reader.on_end = lambda reason: (ends.append(reason), kept.clear(), gc.collect())  # type: ignore[assignment,return-value]
    fine = stage.join(("now", 10))
    stage.change()
    fine.blocked = True
    stage.change()
    assert not first.ready()
    assert reader in stage.distributor.lagging
    stage.source.floor = 11
    stage.source.version = 13
    screen = stage.join()
    assert ends == ["stalled"], "it would need another snapshot after the one that it reads"
    assert fine.ends == []
    stage.loop.advance(0.001)
    stage.loop.advance(1.0)
    assert screen.ends == []
    assert screen.got[:3] == whole(13)


def test_filtered_views_leave_half_of_the_room_to_the_others() -> None:
    for filtered, room, snapshots in ((True, 2 * PARTS, 1), (True, 2 * PARTS + 2, 2),
                                      (False, PARTS, 1), (False, PARTS + 1, 2)):  # fmt: skip
        stage = large(room=room, filtered=filtered)
        kept: list[object] = []
        hold(stage, kept)
        stage.change()
        hold(stage, kept)
        assert stage.source.snapshots == snapshots, (filtered, room)
        kept.clear()


def test_a_view_without_readers_may_always_have_a_snapshot() -> None:
    """Or slow clients of one view would lock all others out."""
    stage = large(room=10)
    stage.context.snapshot_bytes = 1_000
    assert stage.join().got == []
    stage.loop.advance(0.1)
    assert stage.screens[0].got == whole(10)
    filtered = large(room=10, filtered=True)
    filtered.context.snapshot_bytes = 5
    filtered.join()
    filtered.loop.advance(0.1)
    assert filtered.screens[0].ends == ["overload"], "a user can ask for many of them"
