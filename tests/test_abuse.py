"""What is sent to the door by who means harm, on raw sockets: a clear answer, nobody waits."""

from __future__ import annotations

import asyncio

import pytest

from api.instance import Instance
from tests.harness import STREAM, Node, Stream

GET = b"GET %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nConnection: close\r\n%b\r\n"
SNAPSHOT = STREAM.encode() + b"/snapshot"


async def answer(service: Instance, request: bytes) -> bytes:
    """The status line and headers of what came back; empty if the connection was just closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        return getattr(error, "partial", b"")
    finally:
        writer.transport.abort()


def status(head: bytes) -> int:
    return int(head.split(b" ")[1]) if head else 0


PATHS = [
    SNAPSHOT + b"?state=%00", SNAPSHOT + b"?state=%ff%fe", SNAPSHOT + b"?state=" + b"a" * 5_000,
    SNAPSHOT + b"?trunk=%F0%9F%A7%A8", SNAPSHOT + b"?trunk=a&" * 500, SNAPSHOT + b"?%zz=%",
    SNAPSHOT + b"?company_id=%0d%0aSet-Cookie:%20x=y", SNAPSHOT + b"?company_id[]=1",
    SNAPSHOT + b"?state=answered&state=answered&state=;drop", SNAPSHOT + b"?" + b"&" * 9_000,
    STREAM.encode() + b"/%00", STREAM.encode() + b"/" + b"k" * 4_000, STREAM.encode() + b"/%2e%2e",
    STREAM.encode() + b"/__proto__", b"/static/%2e%2e/app.py", b"/static/..%5capp.py",
    b"/static/" + b"a/" * 1_000, b"/%2e%2e/%2e%2e/etc/passwd", b"/live-calls/../../x", b"/\xc3\xa9",
    b"*", b"http://evil.example/live-calls", b"/login?next=https://evil.example",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: repr(path[:60]))
async def test_no_path_or_query_makes_the_service_fail(service: Instance, path: bytes) -> None:
    head = await answer(service, GET % (path, service.token().encode(), b""))
    assert status(head) in (0, 200, 302, 400, 404, 405, 414, 431)
    assert b"evil.example" not in head
    assert b"\r\nSet-Cookie" not in head


HEADERS = [
    b"Last-Event-ID: \xff\xfe\r\n", b"Last-Event-ID: " + b"9" * 20_000 + b"\r\n",
    b"Accept: */*;q=nan\r\n", b"Accept: " + b"text/html," * 2_000 + b"\r\n", b"Accept: ,;=\r\n",
    b"Cookie: " + b"a=b; " * 3_000 + b"\r\n", b"Cookie: __Host-livestate=\x01\r\n",
    b"Cookie: =;=;__Host-livestate\r\n", b"X: y\r\n" * 2_000, b"X: " + b"y" * 100_000 + b"\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"Transfer-Encoding: gzip\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Host: evil.example\r\n",
    b"X-Forwarded-For: 127.0.0.1\r\n", b"Range: bytes=0-1\r\n", b" folded: x\r\n", b"nocolon\r\n",
    b"If-None-Match: *\r\n", b"Accept-Encoding: gzip;q=1e999, br;q=-1\r\n",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: repr(header[:40]))
async def test_no_header_makes_the_service_fail(service: Instance, header: bytes) -> None:
    for path in (STREAM.encode(), SNAPSHOT):
        head = await answer(service, GET % (path, service.token().encode(), header))
        assert status(head) in (0, 100, 101, 200, 400, 401, 406, 413, 431, 501)


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n", b"\x00" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"A" * 200_000,
        b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99999999999\r\n\r\n{",
        b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    ],
    ids=lambda request: repr(request[:30]),
)  # fmt: skip
async def test_what_is_no_request_stops_nobody(
    service: Instance, node: Node, request_: bytes
) -> None:
    async with await Stream.open(service.url, service.token()) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        try:
            head = await answer(service, request_)
        except TimeoutError:
            head = b""
        assert status(head) < 500 or status(head) in (501, 505)
        await node.call("1.1", company_id="abuse")
        await stream.until(lambda s: f"1.1@{node.name}" in s.states)
