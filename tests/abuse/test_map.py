"""The table in the README names tests that there are, and every test of this folder is in it."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
HELD = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
OF_PARTS = {  # steps beside the rows: what is already true of a part
    "test_what_is_for_the_outside_is",
    "test_what_is_no_address_is_counted_on_its_proxy_and_ipv6_by_its_site",
    "test_every_position_that_we_write_is_read_again",
    "test_a_record_is_the_same_to_any_reader_of_json",
    "test_every_row_names_tests_that_there_are_and_no_test_is_forgotten",
}  # fmt: skip


def test_every_row_names_tests_that_there_are_and_no_test_is_forgotten() -> None:
    named = set(re.findall(r"`(test_\w+)`", (HERE / "README.md").read_text()))
    here = {name for file in HERE.glob("test_*.py") for name in HELD.findall(file.read_text())}
    beside = {name for file in HERE.parent.rglob("*.py") for name in HELD.findall(file.read_text())}
    assert named <= here | beside, named - here - beside
    assert here <= named | OF_PARTS, here - named - OF_PARTS
