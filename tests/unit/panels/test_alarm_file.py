"""The operator's file of alarm rules: a bad value is named and loses nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.panels.alarm_file import AlarmFile, parse
from livestate.state.alarms.rules import DEFAULTS, Rules


def test_what_is_not_written_keeps_its_default() -> None:
    rules, bad = parse(
        b"[asr]\nwarning = 50\nraise_after_seconds = 5\ncompanies = true\n"
        b"[failures_per_minute]\nalarm = 200\n[ner]\nwarning = false\n"
    )
    assert bad == []
    assert rules["asr"] == DEFAULTS["asr"]._replace(warning=50, raise_ms=5_000, companies=True)
    assert rules["failures_per_minute"].on
    assert (rules["ner"].warning, rules["ner"].alarm) == (None, 70)
    assert rules["cps"] == DEFAULTS["cps"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[asr]\nwarning = "40"', "neither a number"),
        ("[asr]\nwarning = true", "neither a number"),
        ("[asr]\nwarning = -1", "neither a number"),
        ("[asr]\nwarning = nan", "neither a number"),
        ("[asr]\nwarning = inf", "neither a number"),
        ("[asr]\nraise_after_seconds = 1e9", "seconds"),
        ("[asr]\ncompanies = 1", "neither true"),
        ("[node_silent]\ncompanies = true", "no value of"),
        ("[asr]\nlimit = 3", "no value of this rule"),
        ("[ars]\nalarm = 3", "no rule; there are"),
        ("asr = 3", "no table"),
        ("[asr]\nwarning = 10\nalarm = 20", "before the warning"),
        ("[pdd_p95_ms]\nwarning = 20000", "before the warning"),
    ],
)
def test_a_bad_value_is_named_and_keeps_its_default(text: str, reason: str) -> None:
    rules, bad = parse(text.encode() + b"\n[cps]\nalarm = 90\n")
    assert len(bad) == 1
    assert reason in bad[0]
    assert rules == {**DEFAULTS, "cps": DEFAULTS["cps"]._replace(alarm=90)}


@pytest.mark.parametrize("raw", [b"[asr", b"[asr]\nwarning = \xff", b"a = " + b"[" * 5_000])
async def test_a_file_that_is_no_toml_leaves_the_rules_as_they_are(
    tmp_path: Path, raw: bytes
) -> None:
    used: list[Rules] = []
    path = tmp_path / "alarms.toml"
    path.write_bytes(b"[cps]\nalarm = 90\n")
    file = AlarmFile(str(path), used.append)
    await file.refresh()
    path.write_bytes(raw)
    await file.refresh()
    assert file.trouble
    assert file.rules["cps"].alarm == 90
    path.write_bytes(b"")
    await file.refresh()
    assert (file.trouble, file.rules, len(used)) == (None, DEFAULTS, 2)
