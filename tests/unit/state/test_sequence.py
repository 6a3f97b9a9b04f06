"""One numbering against a naive model that remembers every number; bounds by their literal value.

What the numbers must tell: a number is new exactly once, a gap is a loss after a second or 64
numbers, and memory does not depend on how far numbers jump.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state.nodes.node import Node
from livestate.state.nodes.sequence import Sequence, further_ahead_than_time_allows
from tests.examples import examples


class Remembered:
    """All that was said of each number, without a limit: what :class:`Sequence` must answer."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.highest = first
        self.came = {first}
        self.waited_for: dict[int, int] = {}  # number → since

    def rise(self, to: int, now: int) -> None:
        for number in range(self.highest + 1, to + 1):
            self.waited_for[number] = now
        self.highest = max(self.highest, to)

    def take(self, seq: int, now: int) -> bool:
        self.rise(seq, now)
        self.waited_for.pop(seq, None)
        news = seq < self.first or seq not in self.came
        self.came.add(seq)
        return news

    def write_off(self, up_to: int) -> None:
        self.waited_for = {n: at for n, at in self.waited_for.items() if n > up_to}

    def lost(self, now: int) -> bool:
        return any(
            now - since >= 1_000 or self.highest - number >= 64
            for number, since in self.waited_for.items()
        )


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "take", "take", "reach", "write off", "look"]),
              st.integers(-70, 70), st.sampled_from([0, 1, 499, 501, 1_000])),
    max_size=40,
)  # fmt: skip


@settings(max_examples=examples(400), deadline=None)
@given(STEPS)
def test_numbers_are_judged_as_with_full_memory(steps: list[tuple[str, int, int]]) -> None:
    numbers, model, now = Sequence(100, 100), Remembered(100), 5_000
    for step, by, passed in steps:
        now += passed
        seq = model.highest + by
        if step == "take":
            assert numbers.take(seq, now) == model.take(seq, now)
        elif step == "reach":
            numbers.reach(seq, now)
            model.rise(seq, now)
        elif step == "write off":
            numbers.write_off(seq)
            model.write_off(seq)
        assert numbers.gap_matured(now) == model.lost(now)
        assert (numbers.highest, numbers.missing) == (model.highest, model.waited_for)
        assert numbers.overrun is None


@settings(max_examples=examples(200), deadline=None)
@given(STEPS)
def test_memory_is_bounded_and_no_news_is_taken_for_a_duplicate(
    steps: list[tuple[str, int, int]],
) -> None:
    """With room for 40 missing numbers: what was forgotten counts as new, never as seen."""
    numbers, model, now = Sequence(100, 100, most_missing=40), Remembered(100), 5_000
    for step, by, passed in steps:
        now += passed
        seq, before = model.highest + by, len(numbers.missing)
        if step == "take":
            assert numbers.take(seq, now) >= model.take(seq, now)
        elif step == "reach":
            numbers.reach(seq, now)
            model.rise(seq, now)
        elif step == "write off":
            numbers.write_off(seq)
        assert len(numbers.missing) <= 40
        assert len(numbers.written_off) <= 40
        assert numbers.highest == model.highest
        assert numbers.overrun is not None or len(numbers.missing) >= before or step != "reach"


def test_ten_thousand_missing_numbers_are_waited_for_one_more_is_an_overrun() -> None:
    for heartbeat in (True, False):
        for missing, overrun in ((10_000, None), (10_001, 10_001)):
            numbers = Sequence(1, 0)
            if heartbeat:
                numbers.reach(missing, 7)
            else:
                numbers.take(missing + 1, 7)
            assert numbers.overrun == overrun
            assert len(numbers.missing) == (0 if overrun else 10_000)
            assert numbers.take(5, 8), "it was never here"
            assert numbers.take(5, 9) == bool(overrun), "what is not remembered is news each time"
    numbers = Sequence(1, 0)
    assert numbers.take(3, 6)
    assert numbers.take(10_005, 7)
    assert not numbers.missing, "all of them are news now, none is waited for"
    assert not numbers.take(10_005, 8), "it is the one that was heard"
    assert numbers.take(10_004, 8)
    assert numbers.take(2, 8)
    numbers = Sequence(1, 0)
    for number in range(2, 20_002, 2):  # every other one is missing: 10,000 of them
        assert numbers.take(number, 7)
        assert numbers.overrun is None
    assert numbers.take(20_002, 7)
    assert numbers.overrun == 20_001
    assert not numbers.missing
    numbers.overrun = None
    assert numbers.take(20_003, 8)
    assert numbers.overrun is None
    assert numbers.take(20_001, 8), "it came late: news"


def test_written_off_numbers_beyond_ten_thousand_are_forgotten_not_taken_for_seen() -> None:
    for written_off, remembered in ((10_000, True), (10_001, False)):
        numbers = Sequence(1, 0)
        numbers.reach(9_000, 7)
        numbers.write_off(9_000)
        numbers.reach(written_off, 7)
        numbers.write_off(written_off)
        assert len(numbers.written_off) == (written_off if remembered else 0)
        assert numbers.take(50, 8)
        assert numbers.take(50, 8) != remembered
        assert numbers.take(written_off, 8)
        assert numbers.take(written_off + 1, 8)
        assert not numbers.take(written_off + 1, 8)


def test_a_gap_is_a_loss_sixty_four_numbers_later_or_after_a_second() -> None:
    numbers = Sequence(1, 0)
    numbers.reach(1, 7)
    assert not numbers.gap_matured(1_006)
    assert numbers.gap_matured(1_007)
    for number in range(2, 65):
        numbers.take(number, 8)
        assert not numbers.gap_matured(8)
    numbers.take(65, 8)
    assert numbers.gap_matured(8)


def test_twenty_numbers_a_millisecond_and_ten_thousand_more_are_believed() -> None:
    for silent in (0, 1, 500):
        allowed = 10_000 + 20 * silent
        assert not further_ahead_than_time_allows(allowed, silent)
        assert further_ahead_than_time_allows(allowed + 1, silent)
        node = Node("n", 1, Sequence(300, 300), last_seen_at=70)
        assert not node.ahead(300 + allowed, 70 + silent)
        assert node.ahead(301 + allowed, 70 + silent)
        assert not Node("n", 1, Sequence(300, 300), 70, restored=True).ahead(10**9, 70)


# -- numbers of another numbering ----------------------------------------------------------------


def test_the_floor_is_what_was_known_two_seconds_ago() -> None:
    restored = Sequence(5, 5)
    for now, floor in ((1_999, 0), (2_000, 0), (3_999, 0), (4_000, 5)):
        restored.raise_floor(now)
        assert restored.floor == floor, now
    numbers = Sequence(1, 10, next_floor=10, floor_at=1_000)
    for now, highest, floor in (
        (2_999, 11, 0), (3_000, 20, 10), (4_999, 21, 10), (5_000, 31, 20), (6_999, 32, 20),
        (7_000, 33, 31),
    ):  # fmt: skip
        numbers.highest = highest
        numbers.raise_floor(now)
        assert numbers.floor == floor, now
    numbers.restart_floor(70, 8_000)
    assert numbers.floor == 0
    numbers.raise_floor(9_999)
    assert numbers.floor == 0
    numbers.raise_floor(10_000)
    assert numbers.floor == 70


def test_the_lowest_number_below_the_floor_is_remembered_for_two_heartbeats() -> None:
    numbers = Sequence(1, 1_000, floor=900)
    assert numbers.low_since(0, 33) == 33
    assert numbers.low_since(5_000, 33) == 33
    numbers.take(950, 5_000)
    numbers.take(900, 5_000)  # neither is below the floor
    assert numbers.low_since(5_000, 33) == 33
    for number in (500, 400, 450):
        numbers.take(number, 6_000)
    assert numbers.low_since(9_999, 899) == 400
    assert numbers.low_since(10_000, 899) == 899
    numbers.take(600, 10_000)  # the time of the one before is over
    assert numbers.low_since(10_001, 899) == 600
    fresh = Sequence(700, 1_000)
    fresh.take(700, 5_000)
    assert fresh.low_since(5_000, 33) == 33
    fresh.take(699, 5_000)  # given out before we listened
    assert fresh.low_since(5_000, 1) == 699
