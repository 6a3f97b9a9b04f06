"""The service as the outside sees it: behind a real Caddy, with the Caddyfile that we ship."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

import pytest

from api.compose import IDLE_SECONDS
from livestate.runtime.child import Server
from tests.abuse.conftest import MOST_PER_ADDRESS, Guarded
from tests.abuse.provider import claims, sign
from tests.abuse.raw import SNAPSHOT, Answer, as_, ask, connection, get, until_closed
from tests.abuse.test_requests import SPELLINGS
from tests.faults.caddy import CADDYFILE, Caddy
from tests.harness import STREAM, Stream

HOST = "127.0.0.1"


@pytest.fixture(scope="session")
def _caddy_process(_guarded_process: Guarded) -> Iterator[Caddy]:
    server = Caddy(_guarded_process.port)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def caddy(_caddy_process: Caddy, guarded: Guarded) -> Caddy:
    """Before ``guarded``."""
    return _caddy_process


async def outside(
    server: Server, path: str, *headers: str, method: str = "GET", source: str = HOST
) -> Answer:
    return await ask(server.port, get(path, *headers, method=method, host=HOST), source=source)


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
        said = ("6.6.6.6", "127.0.0.1", "", "127.0.0.2, 127.0.0.1", f"6.6.6.{number}")
        return await Stream.open(
            caddy.url, sign(claims(sub=f"{source} {number}")), source=source,
            headers={"X-Forwarded-For": said[number % 5], "Forwarded": "for=6.6.6.6",
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


async def test_slow_headers_and_idle_connections_end_at_caddy_too(caddy: Caddy) -> None:
    begun = get(SNAPSHOT, host=HOST)[:-2]
    lived = await asyncio.gather(
        until_closed(caddy.port, begun), until_closed(caddy.port, begun, *[b"X: y\r\n"] * 30)
    )
    assert max(lived) <= 10, lived


def test_caddy_lets_go_of_an_idle_connection_before_the_service_does() -> None:
    """Else a request that may not be sent twice is lost now and then."""
    (told,) = re.findall(r"keepalive (\d+)s", CADDYFILE.read_text())
    assert int(told) < IDLE_SECONDS
