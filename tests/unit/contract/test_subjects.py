"""Subjects, pairs of nodes, and names: which sender may say what."""

from __future__ import annotations

import pytest

from livestate.contract.errors import Rejected
from livestate.contract.node_name import node_name_problem
from livestate.contract.subjects import Subjects, Vouched, paired

VOUCHING = "nodes.*.call.events.>"


def test_what_is_subscribed_to() -> None:
    plain, vouching = Subjects(), Subjects("eu.nodes.*.call.events.>")
    assert (plain.vouched, plain.events, plain.cdrs) == (False, ("call.events.>",), "cdr.raw")
    assert vouching.vouched
    assert vouching.events == ("eu.nodes.*.call.events.>", "call.events.lost")
    assert vouching.cdrs == "eu.nodes.*.cdr.raw"


def test_the_node_is_taken_off_a_subject_where_the_server_vouches_for_it() -> None:
    plain, vouching = Subjects(), Subjects(VOUCHING)
    assert plain.of("nodes.kam-1.call.events.setup") == Vouched(
        "nodes.kam-1.call.events.setup", None
    )
    assert vouching.of("nodes.kam-1.call.events.setup") == Vouched("call.events.setup", "kam-1")
    assert vouching.of("call.events.lost") == Vouched("call.events.lost", None)
    plain.check(plain.of("call.events.setup"), "whoever")


def test_groups_of_nodes_have_copies_of_each_others_dialogs() -> None:
    groups = paired(" kam-1  kam-2 , kam-3 kam-4 kam-5,")
    pair, three = {"kam-1", "kam-2"}, {"kam-3", "kam-4", "kam-5"}
    assert groups == dict.fromkeys(pair, pair) | dict.fromkeys(three, three)
    assert paired("") == {}
    with pytest.raises(ValueError, match="kam-1 is in two"):
        paired("kam-1 kam-2, kam-3 kam-1")
    with pytest.raises(ValueError, match="not 1 to 253 letters"):
        paired("kam-1 kam..2")


@pytest.mark.parametrize(
    ("pattern", "pairs", "owner", "right"),
    [
        ("call.events.>", "", "kam-9", True),  # every claim is believed
        ("call.events.>", "kam-1 kam-2", "kam-2", True),
        ("call.events.>", "kam-1 kam-2", "kam-3", False),
        ("call.events.>", "kam-1 kam-2, kam-3 kam-4", "kam-3", False),
        ("call.events.>", "kam-2 kam-3", "kam-2", False),
        (VOUCHING, "", "kam-2", False),
        (VOUCHING, "kam-1 kam-2", "kam-2", True),
        (VOUCHING, "", "kam-1", True),  # its own
        (VOUCHING, "", None, True),
    ],
)
def test_a_node_may_send_events_of_calls_of_its_own_group(
    pattern: str, pairs: str, owner: str | None, right: bool
) -> None:
    subjects = Subjects(pattern, pairs)
    if right:
        subjects.check_owner("kam-1", owner)
    else:
        with pytest.raises(Rejected, match="forged_node: kam-1 tells of a call of kam-"):
            subjects.check_owner("kam-1", owner)


@pytest.mark.parametrize(("name", "better"), [
    ("a" * 254, "a" * 64), ("", "kam-1"), ("kam mil/1", "kam-mil-1"), ("..a..b..", "a.b"),
    ("a\n", "a"), ("*", "kam-1"), ("é", "kam-1"), ("a" * 63 + ".b" * 99, "a" * 63),
])  # fmt: skip
def test_a_name_that_no_node_may_have_comes_with_a_better_one(name: str, better: str) -> None:
    problem = node_name_problem(name)
    assert problem is not None
    assert problem.endswith(f"such as {better!r}")
    assert len(problem) < 350


@pytest.mark.parametrize("name", ["a", "a" * 253, "kam-1", "sbc.example.com", "A_1.2"])
def test_a_name_that_a_node_may_have_has_no_problem(name: str) -> None:
    assert node_name_problem(name) is None
