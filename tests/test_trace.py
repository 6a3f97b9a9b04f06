"""The link from a call to its SIP messages: a template, and what a caller may do to it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import trace
from api.settings import SettingsError, from_environment
from livestate.call import begin
from tests.calls import START, event

TEMPLATE = "https://homer.example/search?callid={call_id}&from={begin}&to={end}"
HOSTILE = [
    '"><script>alert(1)</script>', "javascript:alert(1)", "a&to=0&callid=other", "../../admin#",
    "{begin}{end}{call_id}", "%22%3E", "a b\tc", "ü\u2028\u202e😀", "{__class__}",
]  # fmt: skip


def test_a_template_is_filled_with_the_call_and_a_minute_around_it() -> None:
    call = begin("k", event("ended", 1, call_id="a@b", setup_at=START, ended_at=START + 9_000))
    assert trace.link(TEMPLATE, call, START + 99_000) == (
        f"https://homer.example/search?callid=a%40b&from={START - 60_000}&to={START + 69_000}"
    )


def test_a_call_that_is_up_lasts_until_now() -> None:
    call = begin("k", event("ringing", 1, ts=START))  # nobody told when it was set up
    told = parse_qs(urlsplit(trace.link(TEMPLATE, call, START + 5_000)).query)
    assert (told["from"], told["to"]) == ([str(START - 60_000)], [str(START + 65_000)])


@pytest.mark.parametrize("call_id", HOSTILE)
def test_whatever_a_caller_writes_is_one_value(call_id: str) -> None:
    stays_in_its_place(call_id)


@given(st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable()))
def test_any_call_id_is_one_value(call_id: str) -> None:
    stays_in_its_place(call_id)


def stays_in_its_place(call_id: str) -> None:
    call = begin("k", event("setup", 1, setup_at=START))._replace(call_id=call_id)
    found = urlsplit(trace.link(TEMPLATE, call, START))
    assert (found.scheme, found.netloc, found.path, found.fragment) == (
        "https", "homer.example", "/search", "",
    )  # fmt: skip
    told = parse_qs(found.query, keep_blank_values=True)
    assert told.keys() == {"callid", "from", "to"}
    assert told["callid"] == [call_id]


@pytest.mark.parametrize(
    "text",
    ["javascript:alert({call_id})", "//homer/{call_id}", "https:///{call_id}", "https://h/",
     "https://{call_id}.example/", "https://h/{callid}", "https://h/{call_id}?p={}",
     'https://h/{"id":{call_id}}', "https://h/ {call_id}", "https://[h/{call_id}"],
)  # fmt: skip
def test_a_template_that_is_none_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="must be an http"):
        from_environment({"LIVESTATE_TRACE_URL": text})


def test_without_a_template_there_is_no_link() -> None:
    assert from_environment({})[0].trace_url is None
    assert from_environment({"LIVESTATE_TRACE_URL": TEMPLATE})[0].trace_url == TEMPLATE
