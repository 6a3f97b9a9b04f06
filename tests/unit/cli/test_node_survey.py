"""``livestate doctor`` judges the nodes whose messages it receives for some seconds."""

from __future__ import annotations

import json

import pytest

from api.cli.node_survey import Hearsay
from livestate.contract.errors import Rejected
from livestate.contract.parse import parse
from tests.calls import START

HOUR = 3_600_000


def remarks(*beats: tuple[str, int, int, int]) -> list[str]:
    survey = Hearsay()
    for node, epoch, seq, ahead in beats:
        survey.beat(node, epoch, seq, START + ahead, START)
    return [remark.what for remark in survey.remarks()]


def test_nothing_is_said_of_nodes_that_are_well() -> None:
    assert remarks(("a", 1, 5, 0), ("b", 1, 2, 40), ("a", 1, 5, -900), ("b", 1, 7, 0)) == []


@pytest.mark.parametrize("twin", [("a", 2, 1, 0), ("a", 1, 3, 0), ("a", 0, 900, 0)])
def test_two_nodes_with_one_name_are_reported(twin: tuple[str, int, int, int]) -> None:
    (what,) = remarks(("a", 1, 5, 0), twin, ("a", 1, 6, 0))
    assert what.startswith("two nodes are called a")


def test_names_that_differ_by_case_are_reported() -> None:
    (what,) = remarks(("SBC-1", 1, 5, 0), ("sbc-1", 1, 5, 0))
    assert "differ by case" in what


def test_a_wrong_clock_is_reported_a_late_message_is_not() -> None:
    (what,) = remarks(("a", 1, 5, HOUR), ("a", 1, 5, HOUR - 10))
    assert "3,600 s ahead" in what
    assert remarks(("a", 1, 5, -20_000), ("a", 1, 5, -10)) == []


@pytest.mark.parametrize(("numbers", "field"), [
    ({"seq": -(2**31)}, "seq"), ({"seq": 2**53}, "seq"), ({"seq": 10**30}, "seq"),
    ({"seq": "7"}, "seq"), ({"epoch": -1}, "epoch"), ({"epoch": None}, "epoch"),
])  # fmt: skip
def test_a_refused_numbering_is_reported_with_its_node(
    numbers: dict[str, object], field: str
) -> None:
    message = {"v": 1, "phase": "heartbeat", "node": "kam-1", "epoch": 1, "seq": 1, "ts": START}
    with pytest.raises(Rejected) as caught:
        parse("call.events.heartbeat", json.dumps(message | numbers).encode())
    survey = Hearsay()
    assert survey.refuse("kam-1", caught.value)
    (remark,) = survey.remarks()
    assert remark.what.startswith("the numbering of kam-1 is unusable")
    assert field in remark.what
    assert "livestate.cfg" in remark.mend
    assert remark.bad
    assert not survey.refuse("kam-1", Rejected("wrong_type", "heartbeat.dialogs: not a number"))


def test_numbers_beyond_time_are_reported() -> None:
    (what,) = remarks(("a", 2**53 - 1, 5, 0))
    assert "further ahead than time allows" in what
    (what,) = remarks(("a", START // 1000, 10**9, 0))
    assert "further ahead than time allows" in what
