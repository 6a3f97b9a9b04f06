"""The service as the outside sees it: behind a real Caddy, with the Caddyfile that we ship."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from tests.abuse.conftest import MOST_PER_ADDRESS, Guarded
from tests.abuse.outside import HOST, Http2Caddy, outside
from tests.abuse.provider import claims, sign
from tests.abuse.raw import SNAPSHOT, Answer, as_, connection, get
from tests.abuse.test_requests import SPELLINGS
from tests.faults.caddy import Caddy
from tests.harness import STREAM, Stream

INSIDE = ["/metrics", "/healthz", "/readyz", "/statusz", "/openapi", "/openapi.json", "/docs",
          "/.env", "/metrics/", "/METRICS", "//metrics", "/%6detrics", "/static/../metrics",
          "/api/v1/live/calls/../../../../metrics", "/live-calls/..%2fmetrics", "/debug/pprof",
          "/metrics;", "/./healthz", "/config/", "/api/v1", "/api/v1/"]  # fmt: skip


async def test_what_is_for_the_inside_is_not_routed(caddy: Caddy, guarded: Guarded) -> None:
    """With and without a login; nor would the service itself answer on its public address."""
    for path in INSIDE:
        for server in (caddy, guarded):
            for headers in ((), (as_(sign(claims(role="admin"))),)):
                answer = await outside(server, path, *headers)
                assert answer.status in (400, 401, 404), (server.name, path, answer.status)
                assert b"livestate_" not in answer.body
                assert b"alive" not in answer.body


async def test_what_is_for_the_outside_is(caddy: Caddy) -> None:
    login = as_(sign(claims()))
    for path, status in (("/live-calls", 200), ("/login", 200), ("/static/main.js", 200),
                         ("/", 302), (SNAPSHOT, 200), (STREAM + "/no-such-key", 404),
                         ("/api/v1/session", 200)):  # fmt: skip
        answer = await outside(caddy, path, login)
        assert answer.status == status, path
        assert answer.headers["x-content-type-options"] == "nosniff"
    async with await Stream.open(caddy.url, sign(claims())) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        assert stream.headers["content-type"] == "text/event-stream"
        assert "content-encoding" not in stream.headers


@pytest.mark.parametrize("path", SPELLINGS)
async def test_no_spelling_of_a_path_gets_past(caddy: Caddy, path: str) -> None:
    stranger = await outside(caddy, path)
    assert stranger.status in (308, 400, 401, 404)
    friend = await outside(caddy, path, as_(sign(claims())))
    assert friend.status in (200, 308, 400, 404)
    if friend.status == 200:
        assert friend.headers["cache-control"] == "no-store"
        assert stranger.status == 401


async def test_an_upgrade_does_not_open_a_tunnel_past_caddy(caddy: Caddy) -> None:
    for kind in ("h2c", "websocket", "tls/1.0", "foo"):
        for path in (SNAPSHOT, "/live-calls"):
            upgrade = (f"Upgrade: {kind}", "Connection: Upgrade, HTTP2-Settings",
                       "HTTP2-Settings: AAMAAABkAAQAAP__")  # fmt: skip
            answer = await outside(caddy, path, *upgrade)
            assert answer.status in (200, 400, 401), kind
            async with asyncio.timeout(5), connection(caddy.port) as (reader, writer):
                writer.write(get(path, *upgrade, host=HOST))
                assert b" 101 " not in await reader.readuntil(b"\r\n\r\n")
                writer.write(get(SNAPSHOT, "X-Forwarded-For: 6.6.6.6", host=HOST))
                with contextlib.suppress(asyncio.IncompleteReadError):
                    assert b" 401 " in await reader.readuntil(b"\r\n\r\n")


async def test_a_forged_x_forwarded_for_is_overwritten_and_the_cap_is_the_clients_own(
    caddy: Caddy,
) -> None:
    """Through Caddy, from two addresses of this machine that are no proxies of ours."""

    async def come(number: int, source: str) -> Stream:
        claimed = ("6.6.6.6", "127.0.0.1", "", "127.0.0.2, 127.0.0.1", f"6.6.6.{number}")
        return await Stream.open(
            caddy.url, sign(claims(sub=f"{source} {number}")), source=source,
            headers={"X-Forwarded-For": claimed[number % 5], "Forwarded": "for=6.6.6.6",
                     "X-Real-IP": "6.6.6.6", "Remote-Addr": "127.0.0.1"},
        )  # fmt: skip

    crowd = await asyncio.gather(*(come(n, "127.0.0.4") for n in range(5 * MOST_PER_ADDRESS)))
    other = await come(0, "127.0.0.5")
    for stream in (*crowd, other):
        await stream.until(lambda s: s.dashboard.complete or s.dashboard.goodbye, 15)
    assert sum(stream.dashboard.complete for stream in crowd) == MOST_PER_ADDRESS
    assert other.dashboard.complete
    assert {s.dashboard.goodbye for s in crowd if not s.dashboard.complete} == {"overload"}
    for stream in (*crowd, other):
        await stream.close()


async def test_long_headers_cost_little_through_http2_too(guarded: Guarded) -> None:
    """Real Caddy with TLS and HTTP/2 before the service. What was quadratic took a hundred times
    as long at 16 KB as at 1 KB; the whole way takes less than ten times as long now."""
    async with Http2Caddy(guarded.port) as caddy:
        await caddy.until_certified()
        for name, first, last in (("Cookie", "a=", '"'), ("Accept", 'W/"a"', "x"),
                                  ("If-None-Match", 'W/"a"', "x")):  # fmt: skip
            took = {1: 1e9, 14: 1e9}
            for _ in range(5):
                for size in took:
                    line = f"{name}: {first}{' ' * (size * 1000)}{last}"
                    version, status, seconds = await caddy.answer_seconds("-H", line)
                    assert version == "2"
                    assert status in ("401", "431"), (name, status)
                    took[size] = min(took[size], seconds)
            assert took[14] < 10 * took[1] + 0.005, (name, took)


async def test_caddy_compresses_pages_and_leaves_the_stream_alone(caddy: Caddy) -> None:
    gzip = "Accept-Encoding: gzip"
    for path in ("/live-calls", "/static/main.js", "/static/styles/base.css"):
        async with asyncio.timeout(5), connection(caddy.port) as (reader, writer):
            writer.write(get(path, gzip, host=HOST))
            head = Answer.of(await reader.readuntil(b"\r\n\r\n"))
        assert head.headers["content-encoding"] == "gzip", path


async def test_hsts_keeps_browsers_on_tls(caddy: Caddy) -> None:
    for path in ("/live-calls", "/login", SNAPSHOT, "/none"):
        answer = await outside(caddy, path)
        assert answer.headers["strict-transport-security"] == "max-age=31536000", path


async def test_caddy_ends_in_seconds_with_streams_open(guarded: Guarded) -> None:
    async with Caddy(guarded.port) as server:
        async with await Stream.open(server.url, sign(claims())) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            began = asyncio.get_running_loop().time()
            os.kill(server.pid, signal.SIGTERM)
            await asyncio.wait_for(stream.over.wait(), 8)
            async with asyncio.timeout(3):
                while server.running:
                    await asyncio.sleep(0.05)
            assert asyncio.get_running_loop().time() - began < 8
