"""One bad dialog, row or name of a node is refused alone, counted, and reported by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from livestate.bridge.kamailio.kept_ends import kept_ends
from livestate.bridge.kamailio.translation import BadFrame, KamailioFeed
from livestate.contract.encoding import encoded
from livestate.contract.events import Sync
from livestate.contract.messages import Message
from livestate.contract.node_name import node_name_problem
from livestate.contract.parse import parse
from livestate.devtools.servers import NatsServer
from tests.evapi import Peer
from tests.harness import until
from tests.unit.bridge.bridge_rig import Received, bridging
from tests.unit.bridge.test_translation import dialog, mark

ODD_DIALOGS: dict[str, Any] = {
    "nothing": None,
    "a number": 7,
    "an empty object": {},
    "no place in the table": {"state": 4, "call-id": "x"},
    "an infinite place": dialog(2, h_entry=float("inf")),
    "a place of 70 bits": dialog(2, h_id=2**70),
    "a state that is none": dialog(2, state="up"),
    "an infinite state": dialog(2, state=float("inf")),
    "a state beyond all": dialog(2, state=10**30),
    "a place that is a list": dialog(2, h_entry=[1]),
}
ODD_VALUES: dict[str, Any] = {
    "t0 of another module": {"variables": [{"t0": "soon"}, {"ru": "\0"}]},
    "a time that is none": {"variables": [{"ls_setup_at": "1e999"}]},
    "an attempt of 400 digits": {"variables": [{"ls_attempt": "9" * 400}]},
    "variables that are none": {"variables": 7},
    "a variable that is a list": {"variables": [{"ls_company": ["1"]}]},
    "no Call-ID": {"call-id": None},
    "a Call-ID that is a number": {"call-id": 7},
    "a From of control characters": {"from_uri": "sip:" + "\1" * 900 + "@x"},
    "half a surrogate pair": {"to_uri": "sip:\ud800@x"},
}


def listed(*dialogs: Any) -> tuple[list[Sync], list[str]]:
    refused: list[str] = []
    feed = KamailioFeed(refused.append)
    parts = []
    for frame in (mark("snapshot_begin"), {"jsonrpc": "2.0", "result": list(dialogs)},
                  mark("snapshot_end")):  # fmt: skip
        for outgoing in feed.feed(frame):
            for data in encoded(outgoing):
                part = parse(outgoing.subject, data)
                assert isinstance(part, Sync)
                parts.append(part)
    return parts, refused


@pytest.mark.parametrize("odd", ODD_DIALOGS.values(), ids=ODD_DIALOGS.keys())
def test_one_bad_dialog_is_refused_alone_and_ends_no_call(odd: Any) -> None:
    (part,), refused = listed(dialog(1), odd, dialog(3))
    assert [call.dialog for call in part.calls] == ["1.1", "3.1"]
    assert part.unlisted == 1
    (reason,) = refused
    assert "of kam-1" in reason


@pytest.mark.parametrize("odd", ODD_VALUES.values(), ids=ODD_VALUES.keys())
def test_an_odd_value_is_left_out_and_its_dialog_listed(odd: dict[str, Any]) -> None:
    (part,), refused = listed(dialog(1), dialog(2, **odd), dialog(3))
    assert [call.dialog for call in part.calls] == ["1.1", "2.1", "3.1"]
    assert (part.unlisted, refused) == (None, [])


def test_an_answer_to_another_question_is_not_taken_for_a_list() -> None:
    feed = KamailioFeed()
    feed.feed(mark("snapshot_begin"))
    feed.feed({"jsonrpc": "2.0", "id": "livestate-kept", "error": {"code": 404}})
    feed.feed({"jsonrpc": "2.0", "id": "livestate-list", "result": [dialog(1)]})
    (outgoing,) = feed.feed(mark("snapshot_end"))
    assert len(outgoing.message["calls"]) == 1


def rows(*slots: Any) -> Message:
    return {"jsonrpc": "2.0", "result": [{"entry": 0, "size": len(slots), "slot": list(slots)}]}


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"result": None}, {"result": {}}, {"result": 7}, {"result": "x"},
        {"error": {"code": -32000}}, {"result": [None]}, {"result": [{"slot": None}]},
        {"result": [{}]}, {"result": [[]]}, rows(None), rows({}), rows({"name": "1"}),
        rows({"name": 1, "value": "{}"}), rows({"name": "1", "value": {"ev": "ended"}}),
    ],
)  # fmt: skip
def test_an_odd_answer_to_htable_dump_is_logged_only(answer: Message) -> None:
    refused: list[str] = []
    assert list(kept_ends(answer, refused.append)) == []
    assert len(refused) == 1
    good = rows({"name": "1", "value": "{}"})["result"]
    if isinstance(answer.get("result"), list):
        mixed = {"result": [*answer["result"], *good]}
        assert list(kept_ends(mixed, refused.append)) == [("1", "{}")]


async def test_a_bad_row_of_the_kept_ends_holds_up_no_cdr(
    peer: Peer, received: Received, nats_server: NatsServer, tmp_path: Path
) -> None:
    """At each start of the bridge Kamailio gives all rows again."""
    peer.call(1, 2)
    peer.hang_up(1, 2)
    good = orjson.loads(peer.kept["1"])
    for name, value in {
        "odd-1": "{", "odd-2": "1e999", "odd-3": orjson.dumps(good | {"node": "a b"}).decode(),
        "odd-4": orjson.dumps(good | {"ev": "heartbeat"}).decode(), "odd-5": "[" * 5_000,
        "odd-6": orjson.dumps(good).decode().replace(f'"seq":{good["seq"]}', '"seq":1e999'),
    }.items():  # fmt: skip
        peer.kept = {name: value, **peer.kept}
    for _ in range(2):
        async with bridging(peer, nats_server.url, tmp_path) as bridge:
            await until(lambda: received.lists)
            await until(lambda: bridge.counts.bad >= 6)
            await until(lambda: set(peer.kept) == {f"odd-{n}" for n in range(1, 7)})
            await until(lambda: not len(bridge.spool))
    assert sorted(await received.cdrs()) == ["1.1", "2.1"]


@pytest.mark.parametrize(
    "name", ["a b", "", "x" * 254, "a\n", "*", ">", "a/b", "é", "a\0", "sip:1", " a", "a\tb"]
)
def test_a_bad_node_name_is_reported_with_a_good_one(name: str) -> None:
    problem = node_name_problem(name)
    assert problem is not None
    assert "LIVESTATE_NODE" in problem
    with pytest.raises(BadFrame, match="LIVESTATE_NODE"):
        KamailioFeed().feed(mark("heartbeat") | {"node": name})


@pytest.mark.parametrize("name", ["kam-mil-1", "A", "x" * 64, "0_0"])
def test_a_node_name_that_is_fine_is_taken(name: str) -> None:
    assert node_name_problem(name) is None
    assert KamailioFeed().feed(mark("heartbeat") | {"node": name})
