"""Which engine an edge believes, and when it says that its calls are old."""

from __future__ import annotations

import pytest

from livestate.cluster import wire
from livestate.cluster.heard_engine import HeardEngine
from livestate.cluster.leadership import Leadership
from livestate.cluster.wire import Beat, Head, Unreadable
from livestate.state.access import Scope
from livestate.state.source import Source
from livestate.state.views import Views


def beat(epoch: str, fence: int, **fields: object) -> Beat:
    values: dict[str, object] = {
        "ready": True,
        "as_of": 0,
        "stale_since": None,
        "reason": "silent",
        "troubles": [],
    }
    return Beat(fence, epoch, **(values | fields))  # type: ignore[arg-type]


def test_the_higher_fence_is_followed_and_the_lower_one_is_not_heard_again() -> None:
    engine = HeardEngine(0)
    assert not engine.hear(beat("old", 4), 100)
    assert engine.hear(beat("new", 5), 200)
    assert not engine.hear(beat("old", 4), 300)
    assert engine.silent_ms(300) == 100
    frame = Head("diff", 4, Views.tag_of(Scope(), "old"), 2, 0)
    assert not engine.sent(frame, Scope())
    assert engine.sent(frame._replace(fence=5, tag=Views.tag_of(Scope(), "new")), Scope())


def test_an_engine_that_claims_the_lease_again_is_the_same() -> None:
    engine = HeardEngine(0)
    engine.hear(beat("one", 4), 100)
    assert not engine.hear(beat("one", 9), 200)


def test_of_two_that_no_lease_decides_between_the_first_one_is_followed_while_it_is_heard() -> None:
    engine = HeardEngine(0)
    engine.hear(beat("first", 0), 0)
    assert not engine.hear(beat("second", 0), 1_900)
    assert engine.beat is not None
    assert engine.beat.epoch == "first"
    assert engine.hear(beat("second", 0), 2_001)


def test_streams_are_stale_without_beats_and_when_the_engine_is() -> None:
    engine = HeardEngine(1_000)
    assert engine.source(9_000, 0, Source()).stale_since == 1_000
    engine.hear(beat("one", 1), 9_000)
    assert engine.source(11_000, 0, Source()) == Source()
    assert engine.source(11_001, 0, Source()).stale_since == 9_000
    trouble = {"node": "n1", "what": "silent", "since": None, "reason": "", "ahead_ms": 0}
    engine.hear(beat("one", 1, stale_since=50_000, troubles=[trouble]), 12_000)
    source = engine.source(12_000, 53_000, Source())
    assert source.stale_since == 9_000
    assert source.troubles[0].node == "n1"
    assert engine.source(12_000, 53_400, source).stale_since == 9_000, "no news of rounding"


def test_streams_are_stale_while_an_engine_starts() -> None:
    """It has not heard its nodes yet, and what the edge shows is of the engine before."""
    engine = HeardEngine(0)
    engine.hear(beat("old", 1), 5_000)
    engine.hear(beat("new", 2, ready=False), 8_000)
    assert engine.source(8_100, 0, Source()).stale_since == 5_000
    engine.hear(beat("new", 2), 9_000)
    assert engine.source(9_100, 0, Source()) == Source()


class Lease:
    holder, writer, fence = "", "", 0


class Claim:
    def __init__(self) -> None:
        self.lease = Lease()
        self.restoring, self.unanswered, self.doubtful = False, False, False


def test_an_engine_leads_while_redis_is_away_and_not_when_another_one_writes() -> None:
    claim = Claim()
    lease, leadership = claim.lease, Leadership(claim)
    assert not leadership.leads, "Redis has not been asked yet"
    claim.unanswered = True
    assert leadership.leads, "Redis has never answered"
    claim.unanswered = False
    lease.holder = lease.writer = "ours 1"
    lease.fence = 7
    assert (leadership.leads, leadership.fence) == (True, 7)
    claim.restoring = True
    assert not leadership.leads, "it does not know yet what the one before it showed"
    claim.restoring = False
    lease.fence = 0  # a claim is on its way, or Redis is away
    assert (leadership.leads, leadership.fence) == (True, 7)
    lease.writer = "theirs 2"
    assert not leadership.leads


@pytest.mark.parametrize("payload", [
    b"", b"[]", b"{}", b'{"schema":2,"kind":"diff"}', b'{"schema":1,"kind":"diff"}',
    b'{"schema":1,"kind":"x","fence":1,"tag":"t","version":1,"floor":0,"since":0,"part":0,'
    b'"more":false,"gone":{}}',
    b'{"schema":1,"kind":"diff","fence":1,"tag":"t","version":1,"floor":0,"since":0,"part":0,'
    b'"more":false,"gone":[]}',
])  # fmt: skip
def test_an_unusable_message_is_refused_with_a_reason(payload: bytes) -> None:
    with pytest.raises(Unreadable, match=r"\w"):
        wire.decode(payload)


def test_heads_survive_the_way() -> None:
    head = Head("state", 3, "tag", 9, 2, 0, ("before", 4), 1, True, {"k": 5})
    assert wire.decode(wire.encode(head, b"body\nmore")) == (head, b"body\nmore")
