"""Which nodes may report calls of which others, and how the bridge separates copies from calls."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.contract.subjects import Subjects
from livestate.ingest.pipeline import Pipeline
from tests.unit.ingest.feeding import Fed, Raw
from tests.unit.state.test_takeover import SILENT, Two, call, listed

# -- who may tell of whose calls -------------------------------------------------------------------


class Apart(Two):
    """As two, but their names are vouched for, and ``pairs`` are put together."""

    def __init__(self, pairs: str) -> None:
        self._pairs, self._apart = pairs, False
        super().__init__()

    def take(self, *sent: Raw) -> Fed:
        if not self._apart:
            subjects = Subjects("nodes.*.call.events.>", self._pairs)
            self.pipeline = Pipeline(
                self.table, self.nodes, (self.recorder,), clock=self.clock, subjects=subjects
            )
            self._apart = True
            self.counters = self.pipeline.counters
        return super().take(
            *((f"nodes.{orjson.loads(data)['node']}.{subject}", data) for subject, data in sent)
        )


@pytest.mark.parametrize("pairs", ["", "a c, b d"])
def test_only_partners_may_report_calls_of_another_node(pairs: str) -> None:
    two = Apart(pairs)
    two.take(call("ended", 1, node="b", owner="a"))
    two.take(call("setup", 2, "7.7", node="b", owner="a"))
    two.take(call("hold", 3, "2.1", node="b", owner="a", company_id="stolen"))
    assert two.states() == {"1.1": "answered", "2.1": "answered"}
    assert two.counters.rejected["forged_node"] == 3
    cdr = call("ended", 4, node="b", owner="a")[1]
    assert two.pipeline.handle_cdr(cdr, "nodes.b.cdr.raw")
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 4, "1.1", "2.1", "8.8"), listed("copies", "b", 4))
    assert two.states() == {"1.1": "answered", "2.1": "answered"}
    assert two.marked() == {"1.1", "2.1"}, "its word does not count"
    assert two.counters.listed_rejected["forged_node"] == 5
    # The forged events took their numbers: nothing of its own is missing.
    two.take(call("setup", 5, "3.3", node="b"))
    assert two.states()["3.3"] == "trying"


def test_a_restart_that_begins_with_a_forged_owner_is_a_restart() -> None:
    two = Apart("")
    two.take(call("answered", 1, "3.1", node="b"))
    two.take(call("ended", 1, node="b", owner="a", epoch=2))
    assert "3.1" in two.marked()


def test_partners_report_calls_of_each_other() -> None:
    two = Apart("c d, b a")
    two.take(call("ended", 1, node="b", owner="a"))
    assert two.states() == {"1.1": "ended", "2.1": "answered"}
    two.wait(SILENT, "b")
    two.take(listed("copies", "b", 1, "2.1"))
    assert not two.marked()


def test_pairs_that_make_no_sense_are_refused_at_the_start() -> None:
    for pairs in ("a b, b c", "a b*"):
        with pytest.raises(ValueError, match=r"in two|name"):
            Subjects("nodes.*.call.events.>", pairs)


# -- the translation -----------------------------------------------------------------------------


def frames(*dialogs: tuple[int, str | None]) -> list[dict[str, Any]]:
    mark = {"v": 1, "node": "b", "epoch": 1, "seq": 5, "ts": "1764000000.000000"}
    listed = [
        {"h_entry": 1, "h_id": number, "call-id": f"c{number}", "state": 4,
         "variables": [{"ls_company": "101"}, *([{"ls_node": node}] if node else [])]}
        for number, node in dialogs
    ]  # fmt: skip
    answer = {"jsonrpc": "2.0", "id": "livestate-list", "result": listed}
    return [mark | {"ev": "snapshot_begin"}, answer, mark | {"ev": "snapshot_end"}]


def test_a_list_has_its_own_dialogs_and_the_copies_apart() -> None:
    feed = KamailioFeed()

    def by_phase(*dialogs: tuple[int, str | None]) -> dict[str, list[str]]:
        found = [one for frame in frames(*dialogs) for one in feed.feed(frame)]
        return {
            str(one.message["phase"]): [call["dialog"] for call in one.message["calls"]]
            for one in found
        }

    assert by_phase((1, "b"), (2, None), (3, "a"), (4, "not a name")) == {
        "sync": ["1.1", "1.2", "1.4"], "copies": ["1.3"]
    }  # fmt: skip
    # An empty list of copies once: it says that the last one is gone.
    assert by_phase((1, "b")) == {"sync": ["1.1"], "copies": []}
    assert by_phase((1, "b")) == {"sync": ["1.1"]}


def test_an_event_of_a_copy_names_its_owner() -> None:
    frame = {"v": 1, "ev": "ended", "node": "b", "epoch": 1, "seq": 5, "ts": "1764000000.000000",
             "call_id": "c", "h_entry": 1, "h_id": 2}  # fmt: skip
    (message,) = KamailioFeed().feed(frame | {"owner": "a"})
    assert message.message["owner"] == "a"
    for odd in ("b", "", "<null>", "not a name", None, 7):
        (message,) = KamailioFeed().feed(frame | {"owner": odd})
        assert "owner" not in message.message or odd == 7
