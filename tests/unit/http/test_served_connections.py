"""Which connection is dropped when one more comes."""

from __future__ import annotations

from api.http.served_connections import ServedConnections


class Plain:
    def __init__(self) -> None:
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def of(most: int, number: int) -> tuple[ServedConnections, list[Plain]]:
    served, made = ServedConnections(most), [Plain() for _ in range(number)]
    for each in made:
        served.add(each)
    return served, made


def test_the_longest_idle_goes_first() -> None:
    served, (first, second, third) = of(3, 3)
    served.busy(first)
    served.idle(first)
    served.add(Plain())
    assert [each.dropped for each in (first, second, third)] == [False, True, False]
    assert (served.dropped, len(served)) == (1, 3)


def test_one_that_is_answered_stays_while_another_is_idle() -> None:
    served, (first, second, third) = of(3, 3)
    served.busy(first)
    served.busy(second)
    served.add(Plain())
    assert [each.dropped for each in (first, second, third)] == [False, False, True]


def test_the_oldest_goes_if_none_is_idle() -> None:
    served, (first, second) = of(2, 2)
    served.busy(second)
    served.busy(first)
    served.add(Plain())
    assert [each.dropped for each in (first, second)] == [True, False]


def test_one_that_ended_is_not_counted_nor_dropped() -> None:
    served, (first, second) = of(2, 2)
    served.remove(first)
    served.busy(first)
    served.add(Plain())
    assert not first.dropped
    assert not second.dropped


def test_one_whose_stream_ended_is_counted_again() -> None:
    served, (first, second) = of(2, 2)
    served.remove(first)
    served.idle(first)
    assert len(served) == 2
    served.add(Plain())
    assert [each.dropped for each in (first, second)] == [False, True]
