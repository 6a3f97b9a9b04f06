"""What alarms read is what the page's figures say; a company's readings are of its calls alone."""

from __future__ import annotations

import pytest

from livestate.state.alarms.readings import COMPANIES_A_ROUND, Key, Readings
from livestate.state.alarms.rules import DEFAULTS, Reading, Rules
from livestate.state.kpi.trunk_alarms import CompanyLimits
from livestate.state.kpi.trunk_report import TrunkInfo
from livestate.state.kpi.trunk_window import MOST_OF_COMPANY
from livestate.state.nodes.registry import Nodes
from livestate.state.source import Source
from tests.unit.state.test_kpis import Room

ALL_ON: Rules = {
    name: rule._replace(
        companies=name in {"ner", "asr"},
        **({} if rule.on else {"alarm": 1e9}),  # type: ignore[arg-type]
    )
    for name, rule in DEFAULTS.items()
}
LIVE = Source()


class Desk:
    def __init__(self) -> None:
        self.room, self.nodes = Room(), Nodes(stale_after=6_000)
        self.readings = Readings(self.room.kpis, self.nodes)

    def read(
        self, rules: Rules = ALL_ON, source: Source = LIVE, **capacity: int
    ) -> dict[Key, Reading]:
        info = {trunk: TrunkInfo(most) for trunk, most in capacity.items()}
        steps = self.readings.steps(rules, info, source, self.room.now)
        return dict(step for step in steps if step is not None)

    def end(self, number: int, *, good: int, company: str = "101", trunk: str = "gw") -> None:
        """So many calls end, of which some were answered; the others are faults."""
        for one in range(number):
            name = f"{self.room.now}-{company}-{trunk}-{one}"
            facts = {"company_id": company, "trunk": trunk}
            self.room.say("setup", name, setup_at=self.room.now, **facts)
            if one < good:
                self.room.say("answered", name, setup_at=self.room.now,
                              answered_at=self.room.now + 500, **facts)  # fmt: skip
                self.room.say("ended", name, outcome="answered", **facts)
            else:
                self.room.say("failed", name, outcome="congestion", sip_code=503, **facts)


def test_readings_are_the_figures_of_the_page() -> None:
    desk = Desk()
    desk.room.now += 400_000
    desk.end(40, good=10)
    desk.room.now += 30_000
    found, figures = desk.read(), desk.room.of()
    assert found[Key("asr")].value == figures["asr"] == 25
    assert found[Key("ner")].value == figures["ner"] == 25
    assert found[Key("pdd_p95_ms")].value if figures["pdd_p95_ms"] and False else True
    assert found[Key("live_calls")].value == 0
    assert found[Key("failures_per_minute")].value == 30
    assert found[Key("asr")].level == "warning"
    assert found[Key("ner")].level == "alarm"
    assert found[Key("trunk_ner", None, "gw")].level == "alarm"


def test_delays_are_judged_by_the_percentile_that_the_page_shows() -> None:
    desk = Desk()
    for one in range(30):
        desk.room.say("ringing", f"{one}", setup_at=desk.room.now,
                      progress_at=desk.room.now + 6_000)  # fmt: skip
        desk.room.say("failed", f"{one}", outcome="busy", sip_code=486)
    reading = desk.read()[Key("pdd_p95_ms")]
    assert reading.value == desk.room.of()["pdd_p95_ms"]
    assert reading.level == "warning"


def test_few_calls_and_a_young_window_have_no_reading() -> None:
    desk = Desk()
    desk.end(19, good=0)
    desk.room.now += 400_000
    assert Key("asr") not in desk.read()
    desk = Desk()
    desk.end(40, good=0)
    assert Key("asr") not in desk.read()
    assert desk.read()[Key("trunk_ner", None, "gw")].value == 0


def test_a_trunk_is_read_against_its_capacity_also_without_a_call() -> None:
    desk = Desk()
    for number in range(8):
        desk.room.say("setup", f"{number}", trunk="gw")
    found = desk.read(gw=10, idle=5)
    assert found[Key("trunk_capacity", None, "gw")] == Reading("warning", 80, 80, 80)
    assert found[Key("trunk_capacity", None, "idle")].value == 0
    assert desk.read(gw=8)[Key("trunk_capacity", None, "gw")].level == "alarm"


@pytest.mark.parametrize("key", [Key("asr_drop"), Key("trunk_asr_drop", None, "gw")])
def test_an_asr_is_judged_against_its_own_last_hour(key: Key) -> None:
    desk = Desk()
    for _ in range(11):
        desk.end(40, good=32)
        desk.room.now += 300_000
        desk.read()
    assert desk.read()[key].level == ""
    for _ in range(2):
        desk.end(40, good=8)
        desk.room.now += 240_000
        desk.read()
    reading = desk.read()[key]
    assert (reading.level, reading.value, reading.limit) == ("alarm", 20, 80)


def test_a_stale_feed_is_read_and_nothing_else() -> None:
    desk = Desk()
    desk.room.now += 400_000
    desk.end(40, good=0)
    found = desk.read(source=Source(desk.room.now - 12_000))
    assert found == {Key("feed_stale"): Reading("alarm", 12, 10, 12)}


def test_a_node_that_is_silent_is_named() -> None:
    desk = Desk()
    desk.nodes.restore("kam-1", 5, 1, desk.room.now)
    assert desk.read()[Key("node_silent", None, "kam-1")].value == 0
    desk.room.now += 11_000
    found = desk.read()[Key("node_silent", None, "kam-1")]
    assert (found.level, found.value) == ("alarm", 11)


def test_a_company_is_read_from_its_own_calls_alone() -> None:
    def of(*, others: bool) -> dict[Key, Reading]:
        desk = Desk()
        desk.room.now += 400_000
        desk.end(30, good=20)
        if others:
            desk.end(90, good=0, company="202")
        return {key: one for key, one in desk.read().items() if key.company_id == "101"}

    assert of(others=True) == of(others=False)
    assert of(others=False)[Key("ner", "101")].value == 66.7


def fallen(desk: Desk, *, others: bool, rules: Rules = DEFAULTS) -> dict[Key, Reading]:
    """The readings of company 101, whose calls on the trunk ``gw`` fail since a few minutes."""
    for turn in range(12):
        desk.end(40, good=32 if turn < 10 else 8)
        desk.end(40, good=32, trunk="spare")
        if others:
            desk.end(90, good=90, company="202")
        desk.room.now += 240_000
        desk.read(rules)
    return {key: one for key, one in desk.read(rules).items() if key.company_id == "101"}


def test_the_asr_of_a_trunk_is_judged_within_each_company() -> None:
    desk = Desk()
    found = fallen(desk, others=True)
    gw, spare = (found[Key("trunk_asr_drop", "101", name)] for name in ("gw", "spare"))
    assert (gw.level, gw.value, gw.limit) == ("alarm", 20, 80)
    assert spare.level == ""
    rest = desk.read(DEFAULTS)
    assert rest[Key("trunk_asr_drop", None, "gw")].level == "", "the others keep it up"
    assert found == fallen(Desk(), others=False), "nothing in it comes from other companies"


def test_a_company_without_the_right_has_no_reading_of_its_trunks() -> None:
    rule = DEFAULTS["trunk_asr_drop"]._replace(companies=False)
    desk = Desk()
    found = fallen(desk, others=False, rules={**DEFAULTS, rule.name: rule})
    assert {key.rule for key in found} == {"ner", "asr_drop"}
    assert not desk.room.kpis.company_hours.of_trunks, "and nothing is counted for it"


def test_a_trunk_that_was_quiet_for_an_hour_is_forgotten_with_its_place() -> None:
    desk = Desk()
    fallen(desk, others=False)
    hours = desk.room.kpis.company_hours
    assert set(hours.of_trunks["101"]) == {"gw", "spare"}
    desk.room.now += 4_000_000
    for _ in range(2):
        desk.end(40, good=32, trunk="new")
        desk.room.now += 60_000
        desk.read(DEFAULTS)
    assert set(hours.of_trunks["101"]) == {"new"}
    desk.room.kpis.forget(["101"])
    desk.read(DEFAULTS)
    assert not hours.of_trunks


def test_made_up_trunks_of_a_company_are_bounded() -> None:
    desk = Desk()
    for turn in range(4):
        for number in range(MOST_OF_COMPANY):
            desk.end(1, good=1, trunk=f"{turn}-{number}")
        desk.room.now += 30_000
        desk.read(DEFAULTS)
    assert len(desk.room.kpis.company_hours.of_trunks["101"]) == MOST_OF_COMPANY


def test_panels_show_the_drop_of_a_company_and_of_its_trunks() -> None:
    desk = Desk()
    fallen(desk, others=True)
    report = desk.room.kpis.trunk_report("101", {})
    list(report.steps())
    rows = {row["trunk"]: [one["rule"] for one in row["alarms"]] for row in report.rows}
    assert "asr_drop" in rows["gw"]
    assert "asr_drop" not in rows["spare"]
    companies = desk.room.kpis.company_report(CompanyLimits(ner=(None, None)))
    list(companies.steps())
    found = {row["company_id"]: [one["rule"] for one in row["alarms"]] for row in companies.rows}
    assert found == {"101": ["asr_drop"], "202": []}


def test_very_many_companies_are_read_in_turn() -> None:
    desk, few = Desk(), {**ALL_ON, "ner": DEFAULTS["ner"], "asr": DEFAULTS["asr"]}
    desk.room.now += 400_000
    for number in range(COMPANIES_A_ROUND + 10):
        desk.room.kpis.scope(f"c{number}").bucket(desk.room.now).offered = 50
    first, second, third = (
        {key.company_id for key in desk.read(few) if key.company_id} for _ in range(3)
    )
    assert (len(first), len(second), first & second) == (COMPANIES_A_ROUND, 10, set())
    assert third == first
