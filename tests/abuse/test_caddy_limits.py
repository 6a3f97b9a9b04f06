"""Time limits and bodies at a real Caddy with the Caddyfile that we ship, on HTTP/1 and HTTP/2."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess

import orjson
import pytest

from api.app import BODY_SECONDS
from api.http.hypercorn_seam import IDLE_SECONDS
from tests.abuse.conftest import Guarded
from tests.abuse.http2 import http2
from tests.abuse.outside import HOST, Http2Caddy, outside
from tests.abuse.provider import claims, sign
from tests.abuse.raw import SNAPSHOT, Answer, as_, ask, connection, get, until_closed
from tests.conftest import absent
from tests.faults.caddy import CADDYFILE, Caddy
from tests.harness import STREAM, Stream


@pytest.mark.slow
async def test_slow_headers_and_idle_connections_end_at_caddy_too(caddy: Caddy) -> None:
    begun = get(SNAPSHOT, host=HOST)[:-2]
    lived = await asyncio.gather(
        until_closed(caddy.port, begun), until_closed(caddy.port, begun, *[b"X: y\r\n"] * 30)
    )
    assert max(lived) <= 10, lived


def test_caddy_lets_go_of_an_idle_connection_before_the_service_does() -> None:
    """Else a request that may not be sent twice is lost now and then."""
    (keepalive,) = re.findall(r"keepalive (\d+)s", CADDYFILE.read_text())
    assert int(keepalive) < IDLE_SECONDS


JSON = "Content-Type: application/json"


@pytest.mark.slow
async def test_a_body_that_never_comes_ends_at_caddy_and_a_stream_goes_on(caddy: Caddy) -> None:
    """Whatever the method, the path, the length that is claimed, and how much of it comes."""
    login = as_(sign(claims(sub="another")))
    begun = [
        get(path, header, *more, method=method, host=HOST) + sent
        for path in (SNAPSHOT, STREAM, "/live-calls", "/", "/none", "/api/v1/session")
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE")
        for header, piece in (("Content-Length: 100", b"{"), ("Content-Length: 20000", b"{"),
                            ("Content-Length: 5000000", b"{"),
                            ("Transfer-Encoding: chunked", b"5\r\n{"))
        for more in ((JSON,), ("Content-Type: text/plain",), (JSON, "Expect: 100-continue"),
                     (JSON, "Origin: https://evil.example"), (JSON, login))
        for sent in (b"", piece)
        if path == "/api/v1/session" or more == (JSON,)
    ]  # fmt: skip
    by_byte = get("/api/v1/session", "Content-Length: 100", JSON, method="POST", host=HOST)
    async with await Stream.open(caddy.url, sign(claims())) as stream:
        lived = await asyncio.gather(
            *(until_closed(caddy.port, one) for one in begun),
            until_closed(caddy.port, begun[-1], *[b"x"] * 25),  # a byte a second
            until_closed(caddy.port, by_byte, *[b"x"] * 25),
        )
        assert max(lived) <= 8, [one for one, age in zip(begun, lived, strict=False) if age > 8]
        received = len(stream.events)
        await stream.until(lambda s: len(s.events) > received, 8)
        assert not stream.over.is_set()


@pytest.mark.slow
async def test_on_http2_bodies_end_too_and_a_stream_beside_them_goes_on(guarded: Guarded) -> None:
    """On one connection. A request on HTTP/2 needs no Content-Length to have a body."""
    bodies: list[list[tuple[str, str]]] = [
        [], [("content-length", "100")], [("content-length", "20000")],
    ]  # fmt: skip
    json = ("content-type", "application/json")
    loop = asyncio.get_running_loop()
    async with Http2Caddy(guarded.port) as server:
        await server.until_certified()
        async with http2(server.port) as client:
            login = ("authorization", f"Bearer {sign(claims(sub='on HTTP/2'))}")
            stream = client.ask(STREAM, login)
            began = loop.time()
            asked = {
                client.ask(path, *headers, json, method=method, body=None): (path, method, headers)
                for path in (STREAM, SNAPSHOT, "/live-calls", "/none", "/api/v1/session")
                for method in ("GET", "POST", "DELETE")
                for headers in bodies
            }
            asked[client.ask(STREAM, login, body=None)] = (STREAM, "GET", [login])
            by_byte = client.ask("/api/v1/session", ("content-length", "100"), json,
                                 method="POST", body=None)  # fmt: skip
            asked[by_byte] = ("/api/v1/session", "by the byte", [])
            for _ in range(9):
                client.send(by_byte, b"x")
                await asyncio.sleep(1)
            ages = {number: client.ended.get(number, began + 99) - began for number in asked}
            assert max(ages.values()) <= 8, [asked[n] for n, age in ages.items() if age > 8]
            received = client.data[stream]
            await asyncio.sleep(8)
            assert client.status[stream] == 200
            assert client.data[stream] > received
            assert stream not in client.ended
            assert client.closed is None
            body = orjson.dumps({"token": sign(claims())})
            whole = client.ask("/api/v1/session", json, ("content-length", str(len(body))),
                               method="POST", body=body)  # fmt: skip
            async with asyncio.timeout(5):
                while whole not in client.ended:
                    await asyncio.sleep(0.05)
            assert client.status[whole] == 200


def posted(body: bytes, *headers: str) -> bytes:
    length = f"Content-Length: {len(body)}"
    return get("/api/v1/session", length, *headers, method="POST", host=HOST) + body


async def test_a_login_in_json_goes_through_caddy(caddy: Caddy, guarded: Guarded) -> None:
    """As documented, for programs; and each refusal of the service comes back as it is."""
    body = orjson.dumps({"token": sign(claims())})
    for server in (caddy, guarded):
        for kind in (JSON, f"{JSON}; charset=utf-8"):
            answer = await ask(server.port, posted(body, kind))
            assert (answer.status, orjson.loads(answer.body)["role"]) == (200, "noc")
            assert answer.headers["set-cookie"].startswith("__Host-livestate=")
        for wrong, headers, status in (
            (b'{"token":"x.y.z"}', (JSON,), 401), (b'{"token":5}', (JSON,), 400),
            (b'{"token":"\xff\xfe"}', (JSON,), 400), ('{"token":"è{x}"}'.encode(), (JSON,), 401),
            (b"\0" * 40, (JSON,), 400), (b"{http.request.body}", (JSON,), 400),
            (body, ("Content-Type: text/plain",), 415),
            (body, (JSON, "Origin: https://evil.example"), 403),
            (b" " * 16_000 + body, (JSON,), 200 if len(body) <= 384 else 413),
            (b" " * 17_000 + body, (JSON,), 413),
        ):  # fmt: skip
            answer = await ask(server.port, posted(wrong, *headers))
            assert answer.status == status, (server.name, wrong[:40])
            assert answer.body
    async with asyncio.timeout(5), connection(caddy.port) as (reader, writer):
        for _ in range(3):  # one connection, as a program keeps it
            writer.write(posted(body, JSON))
            head = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            assert head.status == 200
            await reader.readexactly(int(head.headers["content-length"]))


async def test_a_body_where_none_belongs_is_refused_with_its_reason(caddy: Caddy) -> None:
    login = as_(sign(claims()))
    chunked = b"2\r\n{}\r\n0\r\n\r\n"
    for path, method in ((SNAPSHOT, "GET"), ("/api/v1/session", "DELETE"), ("/none", "POST")):
        whole = get(path, login, "Content-Length: 2", method=method, host=HOST) + b"{}"
        answer = await ask(caddy.port, whole)
        assert (answer.status, answer.body) == (413, b"This request has no body.")
    for path, method in ((SNAPSHOT, "GET"), ("/api/v1/session", "POST")):
        begun = get(path, login, JSON, "Transfer-Encoding: chunked", method=method, host=HOST)
        answer = await ask(caddy.port, begun + chunked)
        assert answer.status == 411
        assert b"Content-Length" in answer.body


def test_caddy_waits_less_for_a_body_than_the_service_does() -> None:
    (read_body,) = re.findall(r"read_body (\d+)s", CADDYFILE.read_text())
    assert int(read_body) < BODY_SECONDS


async def test_a_login_needs_no_body_and_goes_through_caddy(caddy: Caddy, guarded: Guarded) -> None:
    login = as_(sign(claims()))
    for server in (caddy, guarded):
        for more in ((), ("Content-Length: 0",)):
            answer = await outside(server, "/api/v1/session", login, *more, method="POST")
            assert answer.status == 200
            assert answer.headers["set-cookie"].startswith("__Host-livestate=")
        answer = await outside(server, "/api/v1/session", login, "Origin: https://evil.example",
                               method="POST")  # fmt: skip
        assert (answer.status, "set-cookie" in answer.headers) == (403, False)
        for bad in ("Authorization: Bearer x.y.z", "Authorization: Basic eDp5", "X: none"):
            answer = await outside(server, "/api/v1/session", bad, method="POST")
            assert (answer.status, "set-cookie" in answer.headers) in ((401, False), (415, False))


def test_the_limits_of_connections_load_into_a_kernel() -> None:
    """Into one of a namespace of its own, twice: a reload is no mistake."""
    nft, unshare = shutil.which("nft"), shutil.which("unshare")
    if nft is None or unshare is None:
        absent("nft")
    rules = CADDYFILE.with_name("connections.nft")
    script = f"{nft} -f {rules} && {nft} -f {rules} && {nft} list table inet livestate"
    done = subprocess.run([unshare, "-rn", "sh", "-c", script], capture_output=True, text=True)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this kernel lets us have no network of our own")
    assert done.returncode == 0, done.stderr
    assert "ct count over 200" in done.stdout
