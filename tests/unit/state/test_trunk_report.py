"""The trunks of the panel: figures against independent counts, order, alarms, and bounds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.devtools.replay import read
from livestate.devtools.simulator import Network, Traffic
from livestate.state.kpi import trunk_alarms, trunk_window
from livestate.state.kpi.trunk_hour import Recent, TrunkHour
from livestate.state.kpi.trunk_report import TrunkInfo
from livestate.state.kpi.trunk_window import TrunkWindow
from tests.calls import CAPTURES, START
from tests.unit.state.test_kpis import REFERENCE, Room

MINUTE = 60_000


def report(room: Room, company: str | None = None, **info: TrunkInfo) -> Any:
    made = room.kpis.trunk_report(company, info)
    for _ in made.steps():
        pass
    return made


def rows(room: Room, company: str | None = None, **info: TrunkInfo) -> dict[str, dict[str, Any]]:
    return {row["trunk"]: row for row in report(room, company, **info).rows}


def fail(room: Room, dialog: str, trunk: str, code: int = 503, outcome: str = "congestion") -> None:
    room.say("setup", dialog, trunk=trunk)
    room.say("failed", dialog, trunk=trunk, sip_code=code, outcome=outcome)


def answer(room: Room, dialog: str, trunk: str) -> None:
    room.say("answered", dialog, trunk=trunk, answered_at=room.now, setup_at=room.now - 2_000)
    room.say("ended", dialog, trunk=trunk, outcome="answered", ended_at=room.now + 60_000)


def test_the_trunks_of_a_real_capture_have_the_reference_figures() -> None:
    room, feed = Room(0), KamailioFeed()
    text = (CAPTURES / "capture-small.jsonl").read_text(errors="replace")
    for arrival, frame in read(text.splitlines()):
        room.now = arrival
        for out in feed.feed(frame):
            room.pipeline.handle(out.subject, orjson.dumps(out.message))
    found = rows(room)
    assert set(found) == set(REFERENCE["trunk"])
    for name, wanted in REFERENCE["trunk"].items():
        assert found[name]["seizures"] == found[name]["attempts"] == wanted["seizures"], name
        assert found[name]["asr"] == pytest.approx(wanted["ASR"], abs=0.06), name


@pytest.mark.parametrize("seed", range(3))
def test_trunks_and_calls_of_a_network_agree_with_its_other_figures(seed: int) -> None:
    """Of all calls and of each company: the same attempts and ASR by trunk, and all trunks
    together with what no trunk carries are the calls of the tiles and the re-routed attempts."""
    room = Room()
    network = Network(Traffic(cps=8, seed=seed, companies=3, talk_seconds=20), room.now)
    for _ in range(4 * 60):
        room.now += 1_000
        for message in network.due(room.now):
            room.pipeline.handle(message.subject, orjson.dumps(message.message))
    for company in (None, *room.kpis._of):
        figures, found = room.of(company), rows(room, company)
        for name, now, peak, attempts, asr in figures["trunks"]:
            row = found[name]
            assert (row["live"], row["peak"], row["attempts"]) == (now, peak, attempts)
            assert row["asr"] == pytest.approx(asr, abs=0.06)
        made = report(room, company)
        every = [*made.rows, made.without_trunk() or {"attempts": 0, "answered": 0, "codes": {}}]
        assert sum(one["answered"] for one in every) == round(
            figures["asr"] * figures["offered"] / 100
        )
        for one in every:
            assert sum(one["codes"].values()) == one["attempts"] - one["answered"]
        assert made.others() is None


def test_a_carrier_that_answers_503_to_everything_stands_first_at_once() -> None:
    """Also in the first minutes after a start, and below a busy trunk with more faults in all."""
    room = Room()
    for number in range(400):
        answer(room, f"good{number}", "busy")
    for number in range(40):
        fail(room, f"bad{number}", "busy")
    for number in range(20):
        fail(room, f"dead{number}", "dead")
    first, second = report(room).rows
    assert (first["trunk"], first["ner"], first["codes"]) == ("dead", 0.0, {"503": 20})
    assert (first["level"], first["alarms"][0]["rule"]) == ("alarm", "ner")
    assert second["level"] == ""


def test_calls_that_are_up_speak_for_a_trunk_just_after_a_start() -> None:
    """Of calls that begin together those that fail end first: that is no alarm."""
    room = Room()
    for number in range(80):
        room.say("answered", f"up{number}", trunk="gw", answered_at=room.now)
    for number in range(20):
        fail(room, f"bad{number}", "gw")
    assert rows(room)["gw"]["level"] == "warning"  # 80 of 100
    room.now += 5 * MINUTE
    assert rows(room)["gw"]["level"] == "alarm"


@pytest.mark.parametrize(("live", "level"), [(79, ""), (80, "warning"), (94, "warning"),
                                             (95, "alarm"), (120, "alarm")])  # fmt: skip
def test_a_trunk_near_its_capacity_raises_an_alarm(live: int, level: str) -> None:
    room = Room()
    for number in range(live):
        room.say("setup", str(number), trunk="gw")
    row = rows(room, gw=TrunkInfo(100, "Carrier", "IT"))["gw"]
    assert (row["live"], row["level"], row["capacity"]) == (live, level, 100)
    assert (row["name"], row["country"]) == ("Carrier", "IT")


def test_a_trunk_of_the_file_without_calls_is_listed() -> None:
    row = rows(Room(), idle=TrunkInfo(30))["idle"]
    assert (row["live"], row["attempts"], row["asr"], row["level"]) == (0, 0, None, "")


def test_an_asr_that_falls_against_its_own_hour_raises_an_alarm() -> None:
    room = Room()
    for minute in range(50):
        room.now = START + minute * MINUTE
        for number in range(6):  # a trunk that answers one half, and another that always did poorly
            answer(room, f"a{minute}.{number}", "fell")
            fail(room, f"b{minute}.{number}", "fell", 486, "busy")
            fail(room, f"c{minute}.{number}", "poor", 486, "busy")
    answer(room, "one", "poor")
    assert rows(room)["fell"]["alarms"] == []
    for minute in range(50, 60):
        room.now = START + minute * MINUTE
        for number in range(4):
            fail(room, f"d{minute}.{number}", "fell", 486, "busy")
            fail(room, f"e{minute}.{number}", "poor", 486, "busy")
    found = rows(room)
    assert [one["rule"] for one in found["fell"]["alarms"]] == ["asr_drop"]
    assert (found["fell"]["level"], found["poor"]["level"]) == ("alarm", "")


@pytest.mark.parametrize(
    ("recent", "level"),
    [
        (Recent(20, 10, 200, 100), None),  # as before
        (Recent(20, 6, 200, 100), None),  # 30 %: chance does that once in twenty times
        (Recent(19, 0, 200, 100), None),  # too few
        (Recent(20, 0, 19, 19), None),  # nothing to compare with
        (Recent(20, 0, 200, 0), None),  # it never answered
        (Recent(20, 2, 200, 100), "alarm"),
        (Recent(400, 140, 400, 200), "warning"),  # 35 % of 50 %
        (Recent(400, 160, 400, 200), None),  # 40 %: less than a quarter less
    ],
)
def test_an_asr_drop_is_more_than_chance(recent: Recent, level: str | None) -> None:
    found = trunk_alarms.of_asr_drop(recent)
    assert (found and found.level) == level


def test_the_hour_before_ends_with_its_hour() -> None:
    hour = TrunkHour()
    hour.add("gw", 1, 1, START)
    assert hour.of("gw", START) == Recent(1, 1, 0, 0)
    assert hour.of("gw", START + 30 * MINUTE) == Recent(0, 0, 1, 1)
    assert hour.of("gw", START + 66 * MINUTE) == Recent(0, 0, 0, 0)


def test_a_rerouted_call_is_an_attempt_on_each_trunk_with_its_response() -> None:
    room = Room()
    room.say("setup", "1", trunk="a", attempt=1)
    room.say("reroute", "1", trunk="b", attempt=2, sip_code=503)
    room.say("reroute", "1", trunk="c", attempt=3, sip_code=503)  # repeats it: none of its own
    room.say("reroute", "1", trunk="d", attempt=4, sip_code=486)
    room.say("answered", "1", trunk="d", attempt=4, answered_at=room.now)
    found = rows(room)
    assert found["a"]["codes"] == {"503": 1}
    assert found["b"]["codes"] == {"no_reply": 1}
    assert found["c"]["codes"] == {"486": 1}
    assert [found[name]["faults"] for name in "abc"] == [1, 1, 0]
    assert (found["d"]["seizures"], found["d"]["attempts"]) == (1, 0)  # it is still up


def test_a_challenge_is_no_seizure_and_a_refusal_of_the_proxy_is_none() -> None:
    room = Room()
    room.say("setup", "1", trunk="a")
    room.say("failed", "1", trunk="a", sip_code=401, outcome="challenged")
    room.say("failed", "2", trunk="a", sip_code=403, outcome="rejected_local")
    assert [(row["seizures"], row["attempts"]) for row in report(room).rows] == [(0, 0)]


def test_an_attempt_counts_for_a_quarter_of_an_hour() -> None:
    room = Room(START // trunk_window.BUCKET_MS * trunk_window.BUCKET_MS)
    fail(room, "1", "gw")
    room.now += 15 * MINUTE - 1
    assert rows(room)["gw"]["codes"] == {"503": 1}
    room.now += 1
    assert report(room).rows == []


def test_made_up_trunks_are_bounded_and_those_of_the_file_are_counted() -> None:
    """A caller may have a say in the name of a trunk."""
    room = Room()
    room.kpis.trunk_window = TrunkWindow(most=10)
    for number in range(30):
        fail(room, f"x{number}", f"made-up-{number}")
    room.kpis.trunk_window.keep(["real"])
    fail(room, "1", "real")
    assert len(rows(room)) == 11
    assert rows(room)["real"]["codes"] == {"503": 1}
    others = report(room).others()
    assert others is not None
    assert (others["attempts"], others["codes"]) == (20, {"503": 20})
    room.now += 16 * MINUTE  # names that are not seen any more make room
    fail(room, "2", "late")
    assert list(rows(room)) == ["late"]


def test_a_document_has_a_bound_however_many_trunks_calls_are_on() -> None:
    room = Room()
    for number in range(trunk_window.MOST_NAMED + 7):
        room.say("setup", f"x{number}", trunk=f"t{number}")
    made = report(room)
    assert len(made.rows) == trunk_window.MOST_NAMED
    assert made.others()["live"] == 7
    own = report(room, "101")  # a company counts fewer names, and shows the live calls of all
    assert len(own.rows) + own.others()["live"] == trunk_window.MOST_NAMED + 7


def test_responses_of_a_trunk_are_bounded() -> None:
    room = Room()
    for code in range(400, 460):
        fail(room, str(code), "gw", code, "failed")
    codes = rows(room)["gw"]["codes"]
    assert len(codes) == trunk_window.MOST_CODES + 1
    assert sum(codes.values()) == 60


def test_rows_are_made_in_steps() -> None:
    """So that a thousand of them never hold the loop: a step for each."""
    room = Room()
    for number in range(100):
        room.say("setup", f"x{number}", trunk=f"t{number}")
    assert sum(1 for _ in room.kpis.trunk_report(None, {}).steps()) >= 100
