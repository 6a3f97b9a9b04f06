"""The link from a call to its SIP messages: a template, and what a caller may do to it."""

from __future__ import annotations

import posixpath
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.environment import SettingsError, from_environment
from api.stream import trace_link
from livestate.state.call import Call, begin
from tests.calls import START, event

TEMPLATE = "https://homer.example/search?callid={call_id}&from={begin}&to={end}"
HOSTILE = [
    '"><script>alert(1)</script>', "javascript:alert(1)", "a&to=0&callid=other", "../../admin#",
    "{begin}{end}{call_id}", "%22%3E", "a b\tc", "ü\u2028\u202e😀", "{__class__}",
]  # fmt: skip


def called(call_id: str) -> Call:
    call = begin("k", event("setup", 1, setup_at=START))
    return call.replaced(call_id=call_id)


def test_a_template_is_filled_with_the_call_and_a_minute_around_it() -> None:
    call = begin("k", event("ended", 1, call_id="a@b", setup_at=START, ended_at=START + 9_000))
    assert trace_link.link(TEMPLATE, call, START + 99_000) == (
        f"https://homer.example/search?callid=a%40b&from={START - 60_000}&to={START + 69_000}"
    )


def test_a_call_that_is_up_lasts_until_now() -> None:
    call = begin("k", event("ringing", 1, ts=START))  # no event says when it was set up
    query = parse_qs(urlsplit(trace_link.link(TEMPLATE, call, START + 5_000) or "").query)
    assert (query["from"], query["to"]) == ([str(START - 60_000)], [str(START + 65_000)])


@pytest.mark.parametrize("call_id", HOSTILE)
def test_whatever_a_caller_writes_is_one_value(call_id: str) -> None:
    stays_in_its_place(call_id)


@given(st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable()))
def test_any_call_id_is_one_value(call_id: str) -> None:
    stays_in_its_place(call_id)


def stays_in_its_place(call_id: str) -> None:
    call = called(call_id)
    found = urlsplit(trace_link.link(TEMPLATE, call, START) or "")
    assert (found.scheme, found.netloc, found.path, found.fragment) == (
        "https", "homer.example", "/search", "",
    )  # fmt: skip
    query = parse_qs(found.query, keep_blank_values=True)
    assert query.keys() == {"callid", "from", "to"}
    assert query["callid"] == [call_id]


PATHS = [
    "https://homer.example/a/trace/{call_id}/x",
    "https://homer.example/a/trace/{call_id}",
    "https://homer.example/a/trace/{call_id}?from={begin}",
    "https://homer.example/{call_id}#x",
    "https://homer.example/a/#/trace/{call_id}",
    "https://homer.example/a?id={call_id}#/trace/{call_id}",
]
CLIMBING = [
    "..", ".", "../../admin", "..\\..\\admin", "%2e%2e", "%2E%2e/admin", "%252e%252e", "a/../../b",
    "a/..", "./b", "//evil.example", "/etc", "a//b", "\\\\evil.example", "a/", "%2f%2fevil", ".. ",
    "a/%2e%2e%5cb", "%25252e%25252e", "..;", "..;x=1/admin", "a/..%3bx", "%2e%2e%00", ";/x",
]  # fmt: skip


@pytest.mark.parametrize("call_id", CLIMBING)
def test_a_call_id_cannot_climb_out_of_its_place(call_id: str) -> None:
    call = called(call_id)
    for template in PATHS:
        assert trace_link.link(template, call, START) is None
    assert trace_link.link(TEMPLATE, call, START) is not None  # in a query it is a value
    within = trace_link.link("https://homer.example/a/call-{call_id}.html", call, START)
    assert within is None or "/" in call_id or "\\" in call_id or "call-" in within


@pytest.mark.parametrize(
    "call_id", ["a84b4c76e66710@pc33.example", "..a", "...", "a..b", "a/b", "100%", "%zz", "a%2fb"]
)
def test_any_other_call_id_is_a_part_of_one_step(call_id: str) -> None:
    call = called(call_id)
    found = urlsplit(trace_link.link("https://homer.example/a/{call_id}/x", call, START) or "")
    assert found.netloc == "homer.example"
    assert [unquote(step) for step in found.path.split("/")] == ["", "a", call_id, "x"]


@given(st.text(alphabet="./\\%25eE2fF5cC ab#?", min_size=1, max_size=12))
def test_no_call_id_leads_a_browser_or_a_careless_proxy_elsewhere(call_id: str) -> None:
    call = called(call_id)
    made = trace_link.link("https://homer.example/a/b/{call_id}/x", call, START)
    if made is None:
        return
    path = urlsplit(made).path
    for _ in range(4):  # as sent; then decoded again and again
        assert posixpath.normpath(path.replace("\\", "/")).startswith("/a/b/")
        assert path.endswith("/x")
        path = unquote(path)


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
