"""Lists of names in a query: what is written is read back, whatever characters a name has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.live_calls import query
from api.http.listed import names_in, written

NAMES = st.lists(st.text(alphabet=st.sampled_from('\\,a "%+é\n'), min_size=1, max_size=6))


@given(NAMES)
def test_names_come_back_as_they_were(names: list[str]) -> None:
    assert names_in([",".join(map(written, names))]) == names
    assert names_in(map(written, names)) == names


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("gw-a,gw-b", ["gw-a", "gw-b"]), ("", []), (",gw-a,,", ["gw-a"]),
        ("Rossi\\, Sons,gw-a", ["Rossi, Sons", "gw-a"]), ("DOM\\gw-a", ["DOM\\gw-a"]),
        ("a\\\\,b", ["a\\", "b"]), ("a\\", ["a\\"]),
    ],
)  # fmt: skip
def test_a_comma_that_is_part_of_a_name_has_a_backslash(value: str, names: list[str]) -> None:
    assert names_in([value]) == names


def test_the_command_line_asks_for_a_trunk_by_its_whole_name() -> None:
    assert query(None, (), ("Rossi, Sons", "gw-a")).get_list("trunk") == ["Rossi\\, Sons", "gw-a"]
