"""Each final response's place in the figures: what docs/decisions/0015 says is what is counted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.contract.messages import has_cdr
from tests.unit.state.test_kpis import Room

HERE: Final = Path(__file__).parents[2]
VECTORS: Final = json.loads((HERE / "vectors" / "responses.json").read_text("utf-8"))
DECISION: Final = HERE.parent / "docs" / "decisions" / "0015-kpis.md"


class Script:
    """Frames as livestate.cfg sends them, folded and counted; one INVITE after the other."""

    def __init__(self) -> None:
        self.room, self.feed = Room(), KamailioFeed()
        self.cdrs: list[dict[str, Any]] = []
        self._seq = self._dialog = 0
        self._facts: dict[str, Any] = {}

    def invite(self) -> None:
        self._dialog += 1
        self._facts = {"h_entry": 5, "h_id": self._dialog, "call_id": "c@x", "company_id": "101",
                       "trunk": "gw-a", "attempt": 1, "ts_setup": self._now()}  # fmt: skip
        self.tell("setup")

    def reroute(self, code: int) -> None:
        self._facts |= {"trunk": "gw-b", "attempt": self._facts["attempt"] + 1}
        self.tell("reroute", sip_code=code)

    def rings(self) -> None:
        self._facts.setdefault("ts_progress", self._now())
        self.tell("ringing", sip_code=180)

    def answered(self) -> None:
        self._facts["ts_answer"] = self._now()
        self.tell("answered", sip_code=200)
        self.tell("ended", by="caller")

    def tell(self, ev: str, **facts: Any) -> None:
        self.room.now += 100
        self._seq += 1
        frame = {"v": 1, "ev": ev, "node": "kam-1", "epoch": 7, "seq": self._seq,
                 "ts": self._now()} | self._facts | facts  # fmt: skip
        for one in self.feed.feed(frame):
            self.room.pipeline.handle(one.subject, orjson.dumps(one.message))
            self.cdrs += [one.message] if has_cdr(one.message) else []

    def _now(self) -> str:
        return f"{self.room.now // 1000}.{self.room.now % 1000:03d}"


def lived(vector: dict[str, Any]) -> Script:
    """What the codes of a vector make the script tell. A failure before "reroute", and a 3xx that
    is followed, go on in the same dialog; a challenge goes on in a new one."""
    script = Script()
    script.invite()
    codes = vector["codes"]
    over = canceled = False
    for at, code in enumerate(codes):
        if over:
            script.invite()
            over = False
        if code == "CANCEL":
            canceled = True
            if codes[at + 1 :] == []:  # no response comes: Kamailio's timer ends it
                script.tell("failed", sip_code=408, by="caller")
        elif code == "reroute":
            continue
        elif code < 200:
            script.rings()
        elif code < 300:
            script.answered()
        elif codes[at + 1 : at + 2] == ["reroute"] or (code < 400 and vector.get("follow", True)):
            script.reroute(code)
        else:
            script.tell("failed", sip_code=code, by="caller" if canceled else "callee")
            over = True
    return script


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_how_an_invite_ended_has_its_place_in_the_figures(vector: dict[str, Any]) -> None:
    script = lived(vector)
    figures = script.room.of()
    assert figures["concurrent"] == 0
    computed = {"offered": figures["offered"], "asr": figures["asr"], "ner": figures["ner"],
            "cdrs": len(script.cdrs)}  # fmt: skip
    assert computed == {name: vector.get(name, computed[name]) for name in computed}
    if "outcome" in vector:
        assert script.cdrs[-1]["outcome"] == vector["outcome"]
    if "seizures" in vector:
        seized = {name: seizures for name, _, _, seizures, _ in figures["trunks"]}
        assert seized == vector["seizures"]


def test_five_calls_that_were_challenged_are_five_offered_calls() -> None:
    script = Script()
    for _ in range(5):
        script.invite()
        script.tell("failed", sip_code=407, by="callee")
        script.invite()
        script.rings()
        script.answered()
    figures = script.room.of()
    assert (figures["offered"], figures["asr"], figures["ner"]) == (5, 100.0, 100.0)
    assert len(script.cdrs) == 5
    assert sum(filter(None, figures["series"]["cps"])) * 30 == pytest.approx(5, abs=0.2)
    assert script.room.of("101")["offered"] == 5


def test_a_caller_whose_credentials_are_always_wrong_made_one_call_that_failed() -> None:
    """The first challenge is half of a call; the second is the refusal that ended it."""
    script = Script()
    script.invite()
    script.tell("failed", sip_code=407, by="callee")
    script.invite()
    script.tell("failed", sip_code=407, by="callee", detail="credentials refused")
    figures = script.room.of()
    assert (figures["offered"], figures["asr"], figures["ner"]) == (1, 0.0, 0.0)
    assert [(cdr["outcome"], cdr["sip_code"]) for cdr in script.cdrs] == [("failed", 407)]


def table() -> Iterator[tuple[set[int], bool, dict[str, str]]]:
    """The rows of the decision: codes, whether the phone rang before, and what they say."""
    rows = re.findall(r"^\| ([^|]+) \| `(\w+)` \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|$",
                      DECISION.read_text("utf-8"), re.MULTILINE)  # fmt: skip
    for what, outcome, *places in rows:
        reported = dict(
            zip(("outcome", "offered", "asr", "ner", "cdr"), (outcome, *places), strict=True)
        )
        codes = {int(code) for code in re.findall(r"\b\d{3}\b", what)}
        if "3xx" in what:
            codes = set(range(300, 400))
        yield codes, "rang" in what, reported


def place_of(code: int, rang: bool) -> dict[str, str]:
    script = Script()
    script.invite()
    if rang:
        script.rings()
    script.tell("failed", sip_code=code, by="callee")
    figures, (call,) = script.room.of(), script.room.table.calls.values()
    yes = {True: "yes", False: "no"}
    return {"outcome": call.conclusion, "offered": yes[figures["offered"] == 1],
            "asr": yes[figures["asr"] == 100], "ner": yes[figures["ner"] == 100],
            "cdr": yes[len(script.cdrs) == 1]}  # fmt: skip


def test_every_response_is_counted_as_the_decision_says() -> None:
    rows = list(table())
    others = next(meaning for codes, _, meaning in rows if meaning["outcome"] == "failed")
    named = set().union(*(codes for codes, _, _ in rows))
    assert len(named) > 110
    wrong = []
    for code in range(300, 700):
        for rang in (False, True):
            fitting = [
                meaning for codes, row_rang, meaning in rows if code in codes and row_rang == rang
            ]
            if not fitting:  # a row that does not say whether it rang
                fitting = [meaning for codes, _, meaning in rows if code in codes] or [others]
            (meaning,) = fitting[:1]
            if (counted := place_of(code, rang)) != meaning:
                wrong.append((code, rang, meaning, counted))
    assert not wrong
