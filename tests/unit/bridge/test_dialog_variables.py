"""The variables of a dialog: ours have a prefix, and an odd value is left out alone."""

from __future__ import annotations

from typing import Any

import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from tests.unit.bridge.test_translation import SMALL, dialog, folded, frames, mark

OURS = {
    "ls_company": "101", "ls_direction": "inbound", "ls_trunk": "gw-a", "ls_dialled": "4420700",
    "ls_setup_at": "1795480001.5", "ls_attempt": "2", "ls_answered_at": "1795480003.25",
    "ls_mos": "4.3", "ls_jitter_ms": "12", "ls_loss_pct": "0",
}  # fmt: skip


def listed(*dialogs: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of a list of these dialogs, as the service would take them."""
    feed, sent = KamailioFeed(), []
    answer = {"jsonrpc": "2.0", "result": list(dialogs), "id": 1}
    for frame in (mark("snapshot_begin"), answer, mark("snapshot_end")):
        sent += feed.feed(frame)
    table, pipeline = folded(tuple(sent))
    assert (table.live, pipeline.counters.lists) == (len(dialogs), 1)
    return [call for one in sent for call in one.message["calls"]]


def pairs(**variables: Any) -> list[dict[str, Any]]:
    return [{name: value} for name, value in variables.items()]


def test_a_dialog_is_read_from_its_prefixed_variables() -> None:
    (call,) = listed(dialog(1, variables=pairs(**OURS)))
    assert call == {
        "dialog": "1.1", "call_id": "c1", "state": "answered", "company_id": "101",
        "direction": "inbound", "trunk": "gw-a", "to": "4420700", "from": "u1", "attempt": 2,
        "from_uri": "sip:u1@x", "to_uri": "sip:1@y", "setup_at": 1795480001500,
        "answered_at": 1795480003250, "mos": 4.3, "jitter_ms": 12, "loss_pct": 0,
    }  # fmt: skip


def test_variables_of_others_beside_ours_say_nothing_of_the_call() -> None:
    foreign = {"co": "202", "dir": "outbound", "gw": "x", "ru": "99", "t0": "soon", "t1": "17",
               "t2": "0", "att": "many", "em": "1", "rg": "1", "hold": "1"}  # fmt: skip
    (alone,) = listed(dialog(1, variables=pairs(**OURS)))
    (beside,) = listed(dialog(1, variables=pairs(**foreign, **OURS)))
    assert beside == alone


def test_names_without_prefix_are_read_where_there_is_no_other() -> None:
    bare = {"co": "202", "dir": "outbound", "gw": "x", "ru": "99", "t0": "1795480001.5", "rg": "1"}
    (call,) = listed(dialog(1, state=2, variables=pairs(**bare)))
    assert (call["company_id"], call["trunk"], call["to"], call["state"], call["setup_at"]) == (
        "202", "x", "99", "ringing", 1795480001500)  # fmt: skip


ODD = [
    None, "", "<null>", "soon", "-5", "1e999", "9" * 400, "1795480001.5.5", "\u0663", "0x10", [],
    {"a": 1}, True, 1e400, float("nan"), 2**70,
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", sorted(OURS))
def test_an_odd_variable_costs_neither_its_dialog_nor_the_list(name: str, odd: Any) -> None:
    calls = listed(dialog(1, variables=pairs(**OURS | {name: odd})), dialog(2))
    assert [call["dialog"] for call in calls] == ["1.1", "2.1"]
    (sound,) = listed(dialog(1, variables=pairs(**OURS)))
    # Only what this variable tells may be missing or different.
    differing = {k for k in sound | calls[0] if sound.get(k) != calls[0].get(k)}
    assert differing <= {
        "ls_company": {"company_id"}, "ls_direction": {"direction"}, "ls_trunk": {"trunk"},
        "ls_dialled": {"to"}, "ls_setup_at": {"setup_at"}, "ls_attempt": {"attempt"},
        "ls_answered_at": {"answered_at"}, "ls_mos": {"mos"}, "ls_jitter_ms": {"jitter_ms"},
        "ls_loss_pct": {"loss_pct"},
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    "variables", [None, {}, "text", 7, [None], ["x"], [[]], [{"ls_company": "101"}, 3],
                  {"ls_company": "101"}], ids=repr,
)  # fmt: skip
def test_a_dialog_whose_variables_are_no_list_of_pairs_is_still_listed(variables: Any) -> None:
    assert len(listed(dialog(1, variables=variables), dialog(2))) == 2


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize(
    "name", ["company_id", "direction", "trunk", "attempt", "ts_setup", "ts_progress",
             "ts_answer", "sip_code", "sip_reason", "by", "detail", "ruri_user", "from_uri",
             "to_uri", "mos", "jitter_ms", "loss_pct"],
)  # fmt: skip
def test_an_odd_value_of_an_event_costs_nothing_else(name: str, odd: Any) -> None:
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    (one,) = KamailioFeed().feed(setup | {name: odd})
    table, _ = folded((one,))
    assert table.live == 1
    assert "<null>" not in map(str, one.message.values())


def test_an_unset_company_or_trunk_is_absent() -> None:
    setup = next(frame for frame in frames(SMALL) if frame.get("ev") == "setup")
    (one,) = KamailioFeed().feed(setup | {"company_id": "<null>", "trunk": "<null>"})
    assert not {"company_id", "trunk"} & one.message.keys()
    (call,) = listed(dialog(1, variables=pairs(ls_company="<null>", ls_trunk="gw-<null>")))
    assert not {"company_id", "trunk"} & call.keys()


def test_the_quality_of_an_event_and_of_a_dialog_is_read_from_kamailios_text() -> None:
    """rtpengine's module writes "4.3", and whole numbers for the others."""
    ended = next(frame for frame in frames(SMALL) if frame.get("ev") == "ended")
    known = {"mos": "4.3", "jitter_ms": "12", "loss_pct": "0"}
    (one,) = KamailioFeed().feed(ended | known)
    (call,) = listed(
        dialog(1, variables=pairs(**{f"ls_{name}": text for name, text in known.items()}))
    )
    for message in (one.message, call):
        assert {name: message[name] for name in known} == {
            "mos": 4.3,
            "jitter_ms": 12,
            "loss_pct": 0,
        }


@pytest.mark.parametrize(
    "odd", ["0.0", "0.9", "5.1", "-1.0", "4,3", "1_0", "nan", "1e1", "٤", "4.3 "]
)
def test_a_mos_that_is_none_leaves_the_other_figures(odd: str) -> None:
    ended = next(frame for frame in frames(SMALL) if frame.get("ev") == "ended")
    (one,) = KamailioFeed().feed(ended | {"mos": odd, "loss_pct": "3"})
    assert "mos" not in one.message
    assert one.message["loss_pct"] == 3
