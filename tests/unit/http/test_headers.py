"""Header values from strangers: read right, and in a time that grows with their length only."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.sansio.request import Request

from api.auth.claims import Unauthenticated
from api.auth.keys import KeySet
from api.auth.session import _token_in
from api.auth.verifier import Verifier
from api.http.headers import LOGIN_COOKIE, cookies, only_used, quality
from api.http.request import PlainRequests
from api.stream.admission import accepts_stream, admit
from tests.abuse.provider import AUDIENCE, ED, ISSUER, publish


@pytest.fixture
async def verifier(tmp_path: Path) -> Verifier:
    publish(tmp_path / "jwks.json", ed=ED)
    keys = KeySet(str(tmp_path / "jwks.json"))
    await keys.refresh()
    return Verifier(keys, issuer=ISSUER, audience=AUDIENCE)


# -- a login cookie ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("__Host-livestate=a.b.c", ["a.b.c"]),
        ("x=1; __Host-livestate=a.b.c ;y=2", ["a.b.c"]),
        ("__Host-livestate=a.b.c; __Host-livestate=a.b.c", ["a.b.c"]),
        ("__Host-livestate=a.b.c; __Host-livestate=d.e.f", ["a.b.c", "d.e.f"]),
        # Quotes of a sibling domain neither hide our cookie nor make one.
        ('a="; __Host-livestate=a.b.c; b="', ["a.b.c"]),
        ('a="; __Host-livestate=evil"', []),
        ('a="\\"; __Host-livestate=a.b.c', ["a.b.c"]),
        ('__Host-livestate="a.b.c"', []),
        ("$Version=1; __Host-livestate=a.b.c", ["a.b.c"]),
        # Browsers let a sibling set names that a careless strip would turn into ours.
        ("\x85__Host-livestate=evil", []),
        ("\xa0__Host-livestate=evil", []),
        ("\x0b__Host-livestate=evil", []),
        ("__Host-livestate\xa0=evil", []),
        ("__host-livestate=evil; __HOST-LIVESTATE=evil", []),
        ("=__Host-livestate=evil", []),
        ("__Host-livestate", []),
        ("__Host-livestate=", []),
        ("__Host-livestate=a,b", []),
    ],
)
def test_a_login_cookie_is_ours_byte_for_byte(line: str, found: list[str]) -> None:
    assert cookies([line], LOGIN_COOKIE) == found


def test_two_different_login_cookies_are_no_login(verifier: Verifier) -> None:
    headers = Headers({"Cookie": "__Host-livestate=a.b.c; __Host-livestate=d.e.f", "Host": "x"})
    request = Request("GET", "http", None, "", "/", b"", headers, None)
    with pytest.raises(Unauthenticated, match="more than one login cookie"):
        admit(request, "127.0.0.1", verifier, ())


@given(st.text(max_size=60), st.text(max_size=60))
def test_other_cookies_never_change_the_login(before: str, after: str) -> None:
    line = f"{before.replace(LOGIN_COOKIE, '')};{LOGIN_COOKIE}=a.b.c;"
    line += after.replace(LOGIN_COOKIE, "")
    assert cookies([line], LOGIN_COOKIE) == ["a.b.c"]


# -- what a client accepts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "wanted", "weight"),
    [
        ("text/event-stream", "text/event-stream", 1),
        ("TEXT/Event-Stream;q=0.5", "text/event-stream", 0.5),
        ("text/*;q=0.3, */*;q=0.1", "text/event-stream", 0.3),
        ("*/*", "text/event-stream", 1),
        ("text/event-stream;q=0, */*", "text/event-stream", 0),
        ("text/html, *; q=.2, */*; q=.2", "text/event-stream", 0.2),  # Java
        ("application/json", "text/event-stream", 0),
        ("*/*;q=nan", "text/event-stream", 0),
        ("*/*;q=1e999", "text/event-stream", 0),
        ("*/*;q=-1", "text/event-stream", 0),
        (",;=", "text/event-stream", 0),
        ("gzip, deflate, br", "gzip", 1),
        ("gzip;q=0, *", "gzip", 0),
        ("*", "gzip", 1),
        ("identity", "gzip", 0),
        ("", "gzip", 0),
    ],
)
def test_the_most_specific_entry_decides(accepted: str, wanted: str, weight: float) -> None:
    assert quality([accepted], wanted) == weight


# -- what is handed on ---------------------------------------------------------------------------


def test_only_headers_that_are_read_are_handed_on() -> None:
    sent = [(b"host", b"x"), (b"range", b"bytes=0-1"), (b"forwarded", b"for=x"),
            (b"cookie", b"a=b"), (b"accept-charset", b"x"), (b"x-own", b"y"),
            (b"if-none-match", b'W/"a", "b"'),
            (b"content-type", b"application/json; charset=x"), (b"upgrade", b"h2c")]  # fmt: skip
    assert only_used(sent) == [
        (b"host", b"x"), (b"if-none-match", b'W/"a", "b"'), (b"content-type", b"application/json"),
    ]  # fmt: skip


# Each pattern is repeated to fill its kilobytes. The ones with spaces were quadratic in werkzeug.
PATTERNS = {
    "spaces": (b"a=", b" ", b'"'), "quoted spaces": (b'a="', b" ", b"x"),
    "quotes": (b"a=", b'"', b"x"), "backslashes": (b'a="', b"\\", b'"x'),
    "tag and spaces": (b'W/"a"', b" ", b"x"), "commas": (b"", b",", b"x"),
    "semicolons": (b"", b";", b"x"), "pairs": (b"", b"a=b; ", b"x"), "words": (b"", b"a,", b"x"),
    "equals": (b"", b"=", b"x"), "tabs": (b"a", b"\t", b"x"), "digits": (b"", b"9", b"9"),
    "dots": (b"", b"1.", b"1"), "addresses": (b"", b"127.0.0.1, ", b"1.2.3.4"),
    "weights": (b"", b"a;q=0.1,", b"b"), "percent": (b"", b"%41", b"x"), "open": (b"", b"(", b")"),
    "brackets": (b"", b"[", b"]"), "dashes": (b"bytes=", b"1-2,", b"3-"),
    "colons": (b"", b":", b"1"),
    "latin": (b"", b"\xe9\xa0", b"x"), "escapes": (b'a="', b"\\073", b'"'),
}  # fmt: skip
NAMES = [
    b"Cookie", b"Accept", b"Accept-Encoding", b"Accept-Language", b"Authorization", b"Range",
    b"If-None-Match", b"If-Match", b"If-Range", b"If-Modified-Since", b"Content-Type",
    b"Content-Length", b"Host", b"Forwarded", b"X-Forwarded-For", b"Last-Event-ID", b"Origin",
    b"Sec-Fetch-Site", b"Sec-Fetch-Mode", b"Referer", b"User-Agent", b"Cache-Control", b"Pragma",
    b"Date", b"Connection", b"Expect", b"Transfer-Encoding", b"X-Own",
]  # fmt: skip
SIZES = [1, 2, 4, 8, 16, 31]  # KB; h11 takes no head over 32


def _whole(read: Callable[[bytes], object], make: Callable[[int], bytes]) -> dict[int, float]:
    """Size in KB → the least CPU time of several tries."""
    took = dict.fromkeys(SIZES, 1e9)
    for _ in range(4):
        for size in SIZES:
            request = make(size * 1024)
            began = time.thread_time()
            read(request)
            took[size] = min(took[size], time.thread_time() - began)
    return took


def linear(read: Callable[[bytes], object], make: Callable[[int], bytes]) -> None:
    """From 1 to 31 KB a linear parser takes at most 31 times as long, a quadratic one 961 times.
    Half of what lies between, and no doubling near 4: a time of the clock says nothing here. On a
    busy machine caches are shared: a quadratic parser is one each time it is measured."""
    for left in (2, 1, 0):
        took = _whole(read, make)
        if max(took.values()) < 0.001:
            return  # a thousandth of a second for the longest is no hold, and too short to compare
        if took[31] <= 100 * took[1] and took[31] <= 7 * took[8]:
            return
        assert left, took


def _request(verifier: Verifier, head: bytes) -> None:
    """All that our code and its libraries do with a head before and after the door."""
    parser = PlainRequests(h11.SERVER, max_incomplete_event_size=64 * 1024)
    try:
        parser.receive_data(head)
        asked = parser.next_event()
    except h11.RemoteProtocolError:
        return
    if not isinstance(asked, h11.Request):
        return
    headers = Headers([(n.decode("latin1"), v.decode("latin1")) for n, v in asked.headers])
    path, _, query = asked.target.partition(b"?")
    request = Request("GET", "http", None, "", path.decode("latin1"), query, headers, None)
    with contextlib.suppress(Unauthenticated):
        admit(request, "127.0.0.1", verifier, ())
    accepts_stream(request)
    # Attributes that Quart and werkzeug parse when a handler first reads them.
    lazily = ("cookies", "accept_mimetypes", "accept_encodings", "accept_languages", "range",
              "if_none_match", "if_match", "if_range", "if_modified_since", "cache_control",
              "content_length", "mimetype", "mimetype_params", "authorization", "access_route",
              "host", "args", "user_agent", "pragma", "date", "referrer", "url")  # fmt: skip
    for name in lazily:
        with contextlib.suppress(ValueError, LookupError, HTTPException):  # a bad Host raises
            getattr(request, name)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.decode())
def test_time_grows_with_the_length_of_a_header(verifier: Verifier, name: bytes) -> None:
    for kind, (first, again, last) in PATTERNS.items():

        def make(
            size: int, first: bytes = first, again: bytes = again, last: bytes = last
        ) -> bytes:
            value = first + again * (size // len(again)) + last
            host = b"" if name == b"Host" else b"Host: x\r\n"
            return b"GET /api/v1/live/calls HTTP/1.1\r\n%b%b: %b\r\n\r\n" % (host, name, value)

        try:
            linear(partial(_request, verifier), make)
        except AssertionError as error:
            raise AssertionError(f"{name.decode()} of {kind}: {error}") from None


@pytest.mark.parametrize("kind", ["many", "few long", "percent", "one key", "ids", "filters"])
def test_time_grows_with_the_length_of_a_query(verifier: Verifier, kind: str) -> None:
    piece = {"many": b"a=b&", "few long": b"x", "percent": b"%E2%80%AE",
             "one key": b"company_id=a&", "ids": b"last_event_id=9&",
             "filters": b"state=a,&trunk=b,"}[kind]  # fmt: skip

    def make(size: int) -> bytes:
        query = piece * (size // len(piece))
        return b"GET /api/v1/live/calls?%b HTTP/1.1\r\nHost: x\r\n\r\n" % query

    linear(partial(_request, verifier), make)


@pytest.mark.parametrize("kind", ["short lines", "folded", "one name"])
def test_time_grows_with_the_number_of_header_lines(verifier: Verifier, kind: str) -> None:
    line = {"short lines": b"a:\r\n", "folded": b" x\r\n", "one name": b"Cookie: a=b\r\n"}[kind]

    def make(size: int) -> bytes:
        lines = line * (size // len(line))
        return b"GET /api/v1/live/calls HTTP/1.1\r\nHost: x\r\nA: b\r\n%b\r\n" % lines

    linear(partial(_request, verifier), make)


@pytest.mark.parametrize("kind", ["dots", "header", "payload", "signature", "numbers", "nested"])
def test_time_grows_with_the_length_of_a_token(verifier: Verifier, kind: str) -> None:
    def packed(text: bytes) -> bytes:
        return base64.urlsafe_b64encode(text).rstrip(b"=")

    def make(size: int) -> bytes:
        n = size * 3 // 4
        token = {
            "dots": b"." * size,
            "header": packed(b'{"alg":"EdDSA","x":"' + b"y" * n + b'"}') + b".e30.AA",
            "payload": packed(b'{"alg":"EdDSA"}') + b"." + b"A" * size + b".AA",
            "signature": packed(b'{"alg":"EdDSA"}') + b".e30." + b"A" * size,
            "numbers": packed(b'{"alg":' + b"9" * n + b"}") + b".e30.AA",
            "nested": packed(b'{"alg":' + b"[" * n) + b".e30.AA",
        }[kind]
        return (
            b"GET /api/v1/live/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n"
            % token
        )

    linear(partial(_request, verifier), make)


@pytest.mark.parametrize(
    "kind", ["token", "dots", "keys", "same key", "nested", "digits", "escapes", "spaces", "broken"]
)
def test_time_grows_with_the_length_of_a_login(verifier: Verifier, kind: str) -> None:
    first, again, last = {
        "token": (b'{"token":"', b"A", b'"}'),
        "dots": (b'{"token":"', b".", b'"}'),
        "keys": (b"{", b'"a":1,', b'"token":"a.b.c"}'),
        "same key": (b"{", b'"token":"a",', b'"token":"a.b.c"}'),
        "nested": (b'{"token":', b"[", b""),
        "digits": (b'{"token":', b"9", b"}"),
        "escapes": (b'{"token":"', b"\\ud800", b'"}'),
        "spaces": (b'{"token":', b" ", b'"a.b.c"}'),
        "broken": (b'{"token":"', b"\\", b""),
    }[kind]

    def log_in(body: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError, Unauthenticated):
            verifier.verify(_token_in(body))

    def make(size: int) -> bytes:
        return first + again * (size // len(again)) + last

    linear(log_in, make)
