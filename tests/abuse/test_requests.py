"""Hostile requests: each gets a clear answer, delays no other client, and logs nothing."""

from __future__ import annotations

import asyncio

import pytest

from api.cli.child_service import Instance
from tests.abuse.conftest import MOST_PER_USER, Guarded
from tests.abuse.provider import claims, sign
from tests.abuse.raw import (
    PROBLEM,
    SNAPSHOT,
    Answer,
    as_,
    ask,
    connection,
    first_event,
    get,
    until_closed,
)
from tests.harness import STREAM, Node, Stream, metrics

# -- where a client says it is --------------------------------------------------------------------

IDS = {
    "empty": "", "dash": "-", "129 bytes": "0123456789abcdef-" + "1" * 112, "8 KB": "9" * 8_192,
    "20 KB": "a" * 20_000, "NUL": "0123456789abcdef-1\0", "VT": "\v\f", "CR LF": "1\r\nid: x",
    "negative": "0123456789abcdef--1", "2^63": f"0123456789abcdef-{2**63}",
    "2^64": f"0123456789abcdef-{2**64}", "float": "0123456789abcdef-1e3", "hex": "0xff-1",
    "in capitals": "0123456789ABCDEF-1", "zero in front": "0123456789abcdef-01",
    "tag too long": "00000000000000000-1", "a path": "../../etc/passwd", "emoji": "\U0001f9e8",
    "not UTF-8": "\udcff\udcfe", "Arabic digits": "0123456789abcdef-\u0661", "JSON": "{}",
    "old epoch": "0123456789abcdef-1", "two": "a\r\nLast-Event-ID: b", "spaces": "  1  \t",
    "two good ones": "0123456789abcdef-1\r\nLast-Event-ID: 0123456789abcdef-1",
}  # fmt: skip


async def test_any_last_event_id_is_answered_with_a_snapshot(service: Instance) -> None:
    token = service.token()
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.dashboard.complete)
        tag, _, version = stream.dashboard.last_id.partition("-")
    future = f"{tag}-{int(version) + 1_000_000}"
    for what, wrong in {**IDS, "future": future}.items():
        header = get(STREAM, as_(token), f"Last-Event-ID: {wrong}")
        status, body = await first_event(service.port, header)
        assert (status, b"event: snapshot" in body) == (200, True), what
        quoted = "".join(f"%{byte:02x}" for byte in wrong.encode("utf-8", "surrogateescape"))
        query = get(f"{STREAM}?last_event_id={quoted}", as_(token))
        status, body = await first_event(service.port, query)
        assert (status, b"event: snapshot" in body) == (200, True), f"{what}, in the query"


# -- methods, ranges, what is wanted --------------------------------------------------------------

ALLOWED = {
    STREAM: "DELETE, GET, HEAD, OPTIONS", SNAPSHOT: "GET, HEAD, OPTIONS",
    STREAM + "/key": "GET, HEAD, OPTIONS", "/live-calls": "GET, HEAD, OPTIONS",
    "/api/v1/session": "DELETE, GET, HEAD, OPTIONS, POST",
}  # fmt: skip


@pytest.mark.parametrize("path", ALLOWED)
async def test_every_path_says_which_methods_it_knows(service: Instance, path: str) -> None:
    allowed = ALLOWED[path]
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW", "PRI"):
        if method in allowed:
            continue
        request = get(path, as_(service.token()), "X-Canary: echoed", method=method)
        answer = await ask(service.port, request)
        assert answer.status == 405, method
        assert answer.headers["content-type"] == PROBLEM
        assert answer.headers["allow"] == allowed
        assert b"echoed" not in answer.body  # TRACE would
    options = await ask(service.port, get(path, method="OPTIONS"))
    assert (options.status, options.headers["allow"]) == (200, allowed)
    assert not any(name.startswith("access-control") for name in options.headers)


async def test_head_never_hangs_and_says_what_get_would_be(service: Instance) -> None:
    """And the connection stays good: nothing of a body is on its way."""
    token = service.token()
    async with asyncio.timeout(5), connection(service.port) as (reader, writer):
        for path, kind in ((STREAM, "text/event-stream"), (SNAPSHOT, "application/json"),
                           ("/live-calls", "text/html"), ("/static/styles/base.css", "text/css"),
                           (STREAM + "/no-such-key", PROBLEM)):  # fmt: skip
            writer.write(get(path, as_(token), method="HEAD"))
            head = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            assert head.status == (404 if "key" in path else 200)
            assert head.headers["content-type"].startswith(kind)
            assert head.headers["cache-control"] in ("no-store", "public, max-age=0")
    assert (await ask(service.port, get(STREAM, method="HEAD"))).status == 401


async def test_a_406_says_where_the_snapshot_is(
    service: Instance,
) -> None:
    token = service.token()
    for accept in ("application/json", "text/html", "text/event-stream;q=0", "image/*", "x"):
        answer = await ask(service.port, get(STREAM, as_(token), f"Accept: {accept}"))
        assert (answer.status, answer.headers["content-type"]) == (406, PROBLEM)
        assert SNAPSHOT.encode() in answer.body
    for accept in ("*/*", "text/*", "text/html, text/event-stream", "text/event-stream"):
        status, _ = await first_event(service.port, get(STREAM, as_(token), f"Accept: {accept}"))
        assert status == 200, accept


async def test_a_part_or_an_older_copy_cannot_be_asked_for(service: Instance) -> None:
    token = service.token()
    asked = ("Range: bytes=0-3", "If-Range: *", "If-None-Match: *", "If-Match: x",
             "If-Modified-Since: Fri, 31 Dec 2099 23:59:59 GMT",
             "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT")  # fmt: skip
    whole = await ask(service.port, get(SNAPSHOT, as_(token), *asked))
    assert (whole.status, whole.headers["cache-control"]) == (200, "no-store")
    assert "etag" not in whole.headers
    assert whole.body.endswith(b"}")
    status, body = await first_event(service.port, get(STREAM, as_(token), *asked))
    assert (status, b"event: snapshot" in body) == (200, True)
    # The page's files are everybody's: for them these headers are what they are.
    kept = await ask(service.port, get("/static/styles/base.css", "If-None-Match: *"))
    assert kept.status == 304


# -- one path, many spellings ---------------------------------------------------------------------

SPELLINGS = [
    "//api/v1/live/calls/snapshot", "/api//v1/live/calls/snapshot", "/%61pi/v1/live/calls/snapshot",
    "/api/v1/live/calls%2fsnapshot", "/api/v1/live/calls/%2e/snapshot", "/./api/v1/live/calls",
    "/static/../api/v1/live/calls/snapshot", "/static/%2e%2e/api/v1/live/calls/snapshot",
    "/API/V1/LIVE/CALLS/SNAPSHOT", f"{SNAPSHOT}/", f"{SNAPSHOT};", f"{SNAPSHOT};x=.css",
    f"{SNAPSHOT}.css", f"{SNAPSHOT}%00.css", f"{SNAPSHOT}%2f", f"{SNAPSHOT}/a.css",
    f"{SNAPSHOT}?a.css", f"{SNAPSHOT}%3f.css", f"{SNAPSHOT}%23.css", f"{STREAM}/", f"{STREAM};",
    f"{SNAPSHOT}%20", f"{SNAPSHOT}\\", "/\\api\\v1\\live\\calls", f"{SNAPSHOT}?", f"{SNAPSHOT}#x",
]  # fmt: skip


@pytest.mark.parametrize("path", SPELLINGS)
async def test_no_spelling_of_a_path_needs_no_login_or_may_be_cached(
    service: Instance, path: str
) -> None:
    stranger = await ask(service.port, get(path))
    assert stranger.status in (400, 401, 404)
    friend = await ask(service.port, get(path, as_(service.token())))
    assert friend.status in (200, 400, 404)
    for answer in (stranger, friend):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] in (PROBLEM, "application/json")
        assert (answer.status == 200) == (answer.headers["content-type"] == "application/json")


PATHS = [
    SNAPSHOT + "?state=%00", SNAPSHOT + "?state=%ff%fe", SNAPSHOT + "?state=" + "a" * 5_000,
    SNAPSHOT + "?trunk=%F0%9F%A7%A8", SNAPSHOT + "?trunk=a&" * 500, SNAPSHOT + "?%zz=%",
    SNAPSHOT + "?company_id=%0d%0aSet-Cookie:%20x=y", SNAPSHOT + "?company_id[]=1",
    SNAPSHOT + "?state=answered&state=answered&state=;drop", SNAPSHOT + "?" + "&" * 9_000,
    STREAM + "/%00", STREAM + "/" + "k" * 4_000, STREAM + "/%2e%2e", STREAM + "/__proto__",
    "/static/%2e%2e/app.py", "/static/..%5capp.py", "/static/" + "a/" * 1_000, "/static/%00",
    "/static/" + "%E2%80%AE" * 90, "/static/login.html", "/%2e%2e/%2e%2e/etc/passwd",
    "/live-calls/../../x", "/\udcc3\udca9", "*", "", "?x", "http://evil.example/live-calls",
    "http://[", "//evil.example/%2e%2e", "/login?next=https://evil.example", "/%", "/%ff",
]  # fmt: skip

LINES = [
    "Last-Event-ID: \udcff\udcfe", "Last-Event-ID: " + "9" * 20_000, "Accept: */*;q=nan",
    "Accept: " + "text/html," * 2_000, "Accept: ,;=", "Cookie: " + "a=b; " * 3_000,
    "Cookie: __Host-livestate=\x01", "Cookie: =;=;__Host-livestate", "X: y\r\n" * 2_000,
    "X: " + "y" * 100_000, "X: \0", "Content-Length: -1",
    "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5",
    "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked\0", "Expect: 100-continue", "Host: evil.example",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Upgrade: websocket\r\nConnection: Upgrade", "X-Forwarded-For: 127.0.0.1", " folded: x",
    "X-Forwarded-For: [, \udcff" + "," * 3_000, "Forwarded: for=\"_x\"", "nocolon", "Range: x=-",
    "Accept-Encoding: gzip;q=1e999, br;q=-1", "Origin: http://[", "Remote-Addr: 9.9.9.9",
    "If-Modified-Since: Sun, 99 Foo 99999999999 99:99:99 GMT", "Content-Type: \udcff",
]  # fmt: skip

HOSTS = [
    "",
    "[",
    "[::1",
    "a b",
    "x:99999",
    "x:port",
    "\udcff",
    "x@y",
    "x/../..",
    "h" * 5_000,
    ".",
    "a..b",
    "xn--a",
    "a." * 200,
    "evil.example",
    "x\r\nHost: y",
]

NOT_REQUESTS = [
    b"\r\n\r\n", b"\x00" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"A" * 200_000, b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
]  # fmt: skip


async def test_whatever_is_sent_gets_an_answer_and_no_line_in_the_log(
    service: Instance, node: Node
) -> None:
    """Four hundred hostile requests: no 5xx of ours, no redirect away, no cookie, no traceback;
    and a stream beside them goes on."""
    token = service.token()
    lines = len(service._log.read_text().splitlines())
    requests = [get(path, as_(token)) for path in PATHS]
    for line in LINES:
        for path in (STREAM, SNAPSHOT, "/api/v1/session", "/static/styles/base.css"):
            requests += [get(path, as_(token), line), get(path, line, method="HEAD")]
    for host in HOSTS:
        for method in ("GET", "HEAD", "DELETE"):
            for path in ("/", SNAPSHOT, "/api/v1/session"):
                asked = get(path, as_(token), "Origin: http://x", method=method)
                requests.append(asked.replace(b"Host: x", b"Host: " + host.encode(
                    "utf-8", "surrogateescape")))  # fmt: skip
    requests += NOT_REQUESTS
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        for start in range(0, len(requests), 40):
            some = requests[start : start + 40]
            answers = await asyncio.gather(*(_status(service, request) for request in some))
            for request, answer in zip(some, answers, strict=True):
                assert answer.status < 500 or answer.status in (501, 505), request[:200]
                assert "set-cookie" not in answer.headers or request.startswith(b"DELETE")
                assert "evil.example" not in answer.headers.get("location", "")
                assert answer.status != 101, request[:200]
        await node.call("1.1", company_id="abuse")
        await stream.until(lambda s: f"1.1@{node.name}" in s.states)
    assert len(requests) > 400
    logged = service._log.read_text().splitlines()
    assert len(logged) - lines < 5, logged[lines : lines + 20]


async def _status(service: Instance, request: bytes) -> Answer:
    try:
        return await ask(service.port, request, seconds=2)
    except TimeoutError:  # it waits for the rest of what began like a request
        return Answer.of(b"")


# -- who takes his time ---------------------------------------------------------------------------


@pytest.mark.slow
async def test_slow_headers_idle_sockets_and_slow_bodies_are_closed_within_ten_seconds(
    service: Instance,
) -> None:
    """A dozen kinds at once; and a client that is slow but in time gets its answer."""
    token = service.token()
    whole = get(SNAPSHOT, as_(token))
    body = get("/api/v1/session", "Content-Type: application/json", "Content-Length: 100",
               method="POST")  # fmt: skip
    each = [bytes([byte]) for byte in get(SNAPSHOT, "X: " + "y" * 100)]
    slow = (
        until_closed(service.port),
        until_closed(service.port, *each, every=0.5),
        until_closed(service.port, b"GET / HTTP/1.1\r\n"),
        until_closed(service.port, b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X: y\r\n"] * 30),
        until_closed(service.port, whole),
        until_closed(service.port, get(SNAPSHOT, method="HEAD"), b"GET"),
        until_closed(service.port, body),
        until_closed(service.port, body, *[b" "] * 30),
        until_closed(service.port, b"\r\n", b"\r\n"),
        until_closed(service.admin_port),
        until_closed(service.admin_port, get("/healthz"), b"GET / HT"),
    )
    lived = await asyncio.gather(*slow)
    assert max(lived) <= 10, lived
    async with connection(service.port) as (reader, writer):
        for piece in (whole[:20], whole[20:-2], b"\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.2)
        assert Answer.of(await reader.readuntil(b"\r\n\r\n")).status == 200


@pytest.mark.parametrize("kind", ["early", "later", "upgrade", "body"])
async def test_a_client_that_pipelines_and_leaves_is_noticed(service: Instance, kind: str) -> None:
    """A second request behind a stream must not hide that the client is gone."""
    subscribers = "livestate_sse_subscribers"
    before = (await metrics(service))[subscribers]
    one = get(STREAM, as_(service.token()), "Upgrade: x" if kind == "upgrade" else "X: y",
              "Content-Length: 9000000" if kind == "body" else "X: z")  # fmt: skip
    async with asyncio.timeout(5), connection(service.port) as (reader, writer):
        writer.write(one * 2 if kind == "early" else one)
        await reader.readuntil(b"event: snapshot")
        assert (await metrics(service))[subscribers] == before + 1
        writer.write(b"x" * 50_000 if kind == "body" else one)
        await asyncio.sleep(0.2)
    async with asyncio.timeout(8):
        while (await metrics(service))[subscribers] != before:
            await asyncio.sleep(0.05)


async def test_a_connection_stays_good_after_every_kind_of_answer(
    service: Instance, guarded: Guarded
) -> None:
    """Requests that are sent at once are answered in their order; also behind an answer without a
    length, an error, and a stream that was refused."""
    walls = [await Stream.open(guarded.url, sign(claims(sub="full"))) for _ in range(MOST_PER_USER)]
    for wall in walls:
        await wall.until(lambda s: s.named("heartbeat"))
    full, page = as_(sign(claims(sub="full"))), "/static/styles/base.css"
    refused = get(STREAM, full)
    asked = [get("/live-calls"), get(page, "If-None-Match: *"), get("/nowhere"), get(STREAM),
             get("/api/v1/session", method="DELETE"), get(page), get("/live-calls")]  # fmt: skip
    async with asyncio.timeout(5), connection(guarded.port) as (reader, writer):
        for request in (*asked, refused, get("/live-calls"), refused):
            writer.write(request)
            head = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            if request == refused:
                assert b'"overload"' in await reader.readuntil(b"\r\n0\r\n\r\n")
            else:
                await reader.readexactly(int(head.headers.get("content-length", 0)))
    async with asyncio.timeout(5), connection(service.port) as (reader, writer):
        writer.write(b"".join(asked))
        answers = []
        for _ in asked:
            head = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(int(head.headers.get("content-length", 0)))
            answers.append(head.status)
    assert answers == [200, 304, 404, 401, 204, 200, 200]
    for wall in walls:
        await wall.close()
