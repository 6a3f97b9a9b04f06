"""Streams that lag, resume, stall and leave: each gets every change once, in order, or whole.

A property over random steps, judged by :mod:`tests.unit.fanout.numbers`, and the bounds that it
cannot see: when a stream is offered frames again, and what they cost.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.unit.fanout.numbers import Numbers, Stage, framed

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["change", "change", "commit", "beat", "block", "free", "floor", "join",
                         "resume", "resume former", "leave", "wait"]),
        st.integers(0, 7), st.booleans(),
    ),
    max_size=50,
)  # fmt: skip


@pytest.mark.parametrize("calls", [10, 401])
@pytest.mark.parametrize("most", [3, 1_000_000])
@settings(max_examples=examples(150), deadline=None)
@given(steps=STEPS)
def test_every_stream_gets_every_change_once_in_order_or_whole(
    calls: int, most: int, steps: list[tuple[str, int, bool]]
) -> None:
    stage = Stage(Numbers(calls=calls, most=most))
    source, distributor = stage.source, stage.distributor
    for step, number, flag in steps:
        some = stage.screens[number % len(stage.screens)] if stage.screens else None
        if step == "change":
            stage.change(1 + number, commit=flag)
        elif step == "commit":
            stage.commit()
        elif step == "beat":
            distributor.send_heartbeat(source.heartbeat())
        elif step == "join":
            stage.join(beat=flag)
        elif step.startswith("resume"):
            tag = source.former_tag if step == "resume former" else source.tag
            stage.join((tag, max(0, source.version - number)), beat=flag)
        elif step == "floor":
            source.floor = max(source.floor, source.version - number)
        elif step == "wait":
            stage.loop.advance(0.003 * number)
        elif some is not None and step == "leave":
            some.subscriber.leave()
            stage.screens.remove(some)
        elif some is not None:
            some.blocked = step == "block"
    for screen in stage.screens:
        screen.blocked = False
    stage.change()
    distributor.send_heartbeat(source.heartbeat())
    stage.loop.advance(2.0)
    for screen in stage.screens:
        assert (screen.at, screen.rest, screen.tag) == (source.version, False, source.tag)
        assert screen.got[-1] == f"heartbeat {source.version}"
        assert screen.ends == []
    assert not distributor.lagging
    assert not stage.loop.timers, "nothing is due any more"


# -- resuming ------------------------------------------------------------------------------------


def test_a_stream_that_resumes_gets_what_it_missed_and_nothing_else() -> None:
    stage = Stage()
    assert stage.join(("now", 10)).got == []
    assert stage.join(("now", 7)).got == ["whole 7 10"]
    assert stage.join(("foreign", 7)).got == [f"snapshot 10 {part}" for part in (1, 2, 3)]
    assert stage.join(None).got[0] == "snapshot 10 1"


def test_a_position_of_before_our_restart_is_renamed_once() -> None:
    """Without a frame its Last-Event-ID would stay the old one for as long as nothing changes."""
    stage = Stage()
    screen = stage.join(("before", 10))
    assert screen.got == ["whole 10 10"]
    behind = stage.join(("before", 8))
    assert behind.got == ["whole 8 10"]
    stage.change()
    assert screen.got[1:] == behind.got[1:] == ["live 10 11"]
    late = stage.join(("before", 11), beat=True)
    assert late.got == ["whole 11 11", "heartbeat 11"]
    blocked = stage.join(("now", 11))
    blocked.blocked = True
    blocked.subscriber.tag_changed = True
    stage.change()
    blocked.blocked = False
    stage.loop.advance(1)
    assert blocked.got == ["live 11 12"], "which has the new name, too"


def test_changes_that_have_no_frame_yet_come_with_the_next_one() -> None:
    stage = Stage()
    stage.change(commit=False)
    screen = stage.join(("now", 9))
    assert screen.got == ["whole 9 11"], "as far as the view is"
    quiet = stage.join(("now", 10))
    assert quiet.got == [], "it is at the last frame"
    beat = stage.join(("now", 10), beat=True)
    assert beat.got == ["whole 10 11", "heartbeat 11"]
    stage.commit()
    assert screen.got[1:] == []
    assert quiet.got == ["live 10 11"]
    assert beat.got[2:] == []


def test_streams_at_one_version_share_one_catch_up() -> None:
    stage = Stage()
    stage.change()
    screens = [stage.join(("now", 7)) for _ in range(3)]
    other = stage.join(("now", 8))
    assert stage.source.encoded == [(7, 11), (8, 11)]
    assert {screen.got[0] for screen in screens} == {"whole 7 11"}
    assert other.got == ["whole 8 11"]
    stage.change(commit=False)
    stage.join(("now", 7))
    assert stage.source.encoded == [(7, 11), (8, 11)], "as far as the last frame is enough"
    stage.join(("now", 7), beat=True)
    assert stage.source.encoded == [(7, 11), (8, 11), (11, 12)], "a heartbeat is of this moment"
    stage.join(("now", 7), beat=True)
    assert stage.source.encoded == [(7, 11), (8, 11), (11, 12)]
    stage.commit()
    stage.join(("now", 7))
    assert stage.source.encoded == [(7, 11), (8, 11), (11, 12), (7, 12)]


def test_a_long_diff_comes_in_pieces_with_whole_records_until_its_end() -> None:
    stage = Stage(Numbers(most=4))
    screen = stage.join(("now", 0))
    assert screen.got == ["whole 0 4"]
    stage.change()
    assert screen.got == ["whole 0 4", "whole 4 8"], "not the frame, which has changed fields only"
    stage.loop.advance(0.0041)
    assert screen.got[2:] == ["whole 8 11"]
    stage.change()
    assert screen.got[3:] == ["live 11 12"]


# -- lagging -------------------------------------------------------------------------------------


def test_a_blocked_stream_is_skipped_and_brought_up_to_date_by_one_diff() -> None:
    stage = Stage()
    slow, quick = stage.join(("now", 10)), stage.join(("now", 10))
    slow.blocked = True
    for _ in range(3):
        stage.change()
    assert quick.got == ["live 10 11", "live 11 12", "live 12 13"]
    assert (slow.got, set(stage.distributor.lagging)) == ([], {slow.subscriber})
    slow.blocked = False
    stage.distributor.offer_to_lagging()
    assert slow.got == ["whole 10 13"]
    assert not stage.distributor.lagging


def test_a_stream_that_lags_is_offered_frames_again_after_the_longest_pause_or_soon() -> None:
    stage = Stage()
    stage.loop.now = 50.0
    screen = stage.join(("now", 10))
    screen.blocked = True
    stage.change()
    stage.loop.advance(0.0999)
    screen.blocked = False
    assert screen.got == []
    stage.loop.advance(0.0002)
    assert screen.got == ["live 10 11"]
    pieces = Stage(Numbers(most=4))
    pieces.loop.now = 50.0
    one = pieces.join(("now", 0))
    pieces.loop.advance(0.0039)
    assert one.got == ["whole 0 4"]
    pieces.loop.advance(0.0002)
    assert one.got == ["whole 0 4", "whole 4 8"], "its write has left: there is no reason to wait"
    pieces.loop.advance(0.0041)
    assert one.got == ["whole 0 4", "whole 4 8", "whole 8 10"]
    assert not pieces.loop.timers


def test_a_heartbeat_waits_until_its_stream_has_come_so_far() -> None:
    stage = Stage()
    slow = stage.join(("now", 10))
    slow.blocked = True
    stage.change()
    stage.distributor.send_heartbeat(stage.source.heartbeat())
    stage.distributor.send_heartbeat(stage.source.heartbeat())
    assert slow.got == []
    slow.blocked = False
    stage.loop.advance(0.2)
    assert slow.got == ["live 10 11", "heartbeat 11"]


def test_a_heartbeat_that_comes_during_a_delivery_follows_it() -> None:
    stage = Stage()
    screens = [stage.join(("now", 10)) for _ in range(45)]
    stage.source.version = 11
    steps = stage.distributor.deliver(framed("live", 10, 11))
    next(steps)
    assert stage.distributor.busy
    assert sum(len(screen.got) for screen in screens) == 20, "twenty streams a step"
    stage.distributor.send_heartbeat(stage.source.heartbeat())
    assert sum(screen.beats for screen in screens) == 0
    stage.distributor.offer_to_lagging()
    assert sum(len(screen.got) for screen in screens) == 20, "one delivery at a time"
    for _ in steps:
        pass
    assert not stage.distributor.busy
    stage.loop.advance(0.2)
    assert {tuple(screen.got) for screen in screens} == {("live 10 11", "heartbeat 11")}


# -- costs and ends ------------------------------------------------------------------------------


def test_what_a_delivery_costs_later_is_counted_for_those_that_are_here() -> None:
    stage = Stage()
    first, second = stage.join(("now", 10)), stage.join(("now", 10))
    assert stage.change() == 0
    stage.distributor.defers(first.subscriber, 250)
    stage.distributor.defers(second.subscriber, 500)
    assert stage.change() == pytest.approx(750e-6)
    first.subscriber.leave()
    first.subscriber.leave()
    assert stage.change() == pytest.approx(500e-6)


def test_the_last_stream_that_leaves_lets_go_of_all() -> None:
    stage = Stage()
    first, second = stage.join(("now", 3)), stage.join()
    second.blocked = True
    stage.change()
    assert stage.loop.timers
    first.subscriber.leave()
    assert stage.empty == 0
    second.subscriber.leave()
    second.subscriber.leave()
    assert stage.empty == 1
    assert not stage.loop.timers
    assert not stage.distributor.lagging
    stage.join(("now", 3))
    assert stage.source.encoded[-1] == (3, 11), "no diff was kept"
    stage.join()
    assert stage.source.snapshots == 2, "and no snapshot"


def test_a_stream_ends_once_and_silently_at_once() -> None:
    stage = Stage()
    screen, other = stage.join(("now", 10)), stage.join(("now", 10))
    screen.subscriber.end("revoked")
    screen.subscriber.end("drain")
    assert (screen.ends, screen.subscriber.ended) == (["revoked"], "revoked")
    assert not screen.subscriber.subscribed
    assert other.subscriber.subscribed
    stage.change()
    assert (screen.got, other.got) == ([], ["live 10 11"])
    screen.subscriber.offer()
    assert screen.got == []
    assert other.ends == []
    unattached = stage.distributor.subscribe(("now", 11))
    unattached.offer()
    unattached.end("drain")
    assert unattached.ended == "drain"
