"""Below a path, read by pages of other origins, on a unix socket, over IPv6."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
from ipaddress import IPv6Address
from pathlib import Path

import httpx
import pytest

from api.auth.startup_check import plain_http
from api.cli.child_service import Instance
from api.environment import SettingsError, from_environment
from api.http.address import client_of, networks, on_loopback
from api.http.listener import listen
from livestate.devtools.child_process import free_port
from tests import redis_acl
from tests.abuse.raw import SNAPSHOT, Answer, as_, ask, connection, get
from tests.conftest import World
from tests.harness import STREAM

PORTAL, WALL = "https://portal.example", "https://wall.example:8443"
OTHERS = ("https://evil.example", "null", "https://portal.example:444", "http://portal.example",
          "https://portal.example.evil.example", "*", "")  # fmt: skip
SESSION = "/api/v1/session"


async def head(port: int, request: bytes) -> Answer:
    async with connection(port) as (reader, writer), asyncio.timeout(5):
        writer.write(request)
        return Answer.of(await reader.readuntil(b"\r\n\r\n"))


# -- a path prefix -------------------------------------------------------------------------------


async def test_below_a_path_with_and_without_a_proxy_that_removes_it(world: World) -> None:
    async with world.service(PUBLIC_URL="https://noc.example/noc/") as service:
        await service.until_ready()
        login = as_(service.token())
        for prefix in ("/noc", ""):
            for path, status in ((STREAM, 200), (SNAPSHOT, 200), ("/live-calls", 200),
                                 ("/static/main.js", 200), ("/none", 404)):  # fmt: skip
                answer = await head(service.port, get(prefix + path, login))
                assert answer.status == status, prefix + path
        assert (await ask(service.port, get("/nocturnal/live-calls"))).status == 404
        for path in ("/noc", "/noc/", "/noc?", "/"):
            answer = await ask(service.port, get(path))
            assert answer.headers["location"] == "/noc/live-calls", path
        answer = await ask(service.port, get("/noc" + SESSION, login, method="POST"))
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Secure-livestate=")
        assert "; Path=/noc/" in cookie
        assert "; Secure; HttpOnly" in cookie
        sent = cookie.partition(";")[0]
        for prefix in ("/noc", ""):
            for path in (STREAM, SNAPSHOT, SESSION):
                assert (
                    await head(service.port, get(prefix + path, f"Cookie: {sent}"))
                ).status == 200
        other = f"Cookie: {sent.replace('__Secure-', '__Host-')}"
        assert (await ask(service.port, get(SNAPSHOT, other))).status == 401
        out = await ask(service.port, get(SESSION, f"Cookie: {sent}", method="DELETE"))
        assert re.match(r"__Secure-livestate=;.*Max-Age=0; .*Path=/noc/", out.headers["set-cookie"])


async def test_nothing_that_a_browser_gets_names_a_path_from_the_root(world: World) -> None:
    """So a proxy may serve it below any path, also one that the service does not know."""
    async with world.service() as service, httpx.AsyncClient(base_url=service.url) as client:
        todo, seen = ["live-calls", "login", "static/definitions.html"], set()
        todo += ["static/main.js", "static/login.js", "static/styles/base.css"]  # as files, too
        while todo:
            path = todo.pop()
            seen.add(path)
            text = (await client.get(f"/{path}")).raise_for_status().text
            canonical = re.sub(r"\?\? \"/live-calls\"|`/live-calls\$", "", text)  # of `next`
            assert not re.findall(r"""["'`(]/(?:api|static|login|live-calls)\b""", canonical), path
            if path.endswith("js"):
                found = re.findall(r"""(?:from|import) ?\(?"(\.[^"]+)""", text)
            else:
                found = re.findall(r"""(?:src|href)="([^"#:]+)["#]""", text)
            for one in found:
                where = str(httpx.URL(f"http://x/{path}").join(one).path)[1:]
                if where not in seen and where.startswith("static/"):
                    todo.append(where)
        assert {"static/main.bundle.js", "static/table/table.js", "static/styles/base.css"} < seen


# -- other origins -------------------------------------------------------------------------------


async def test_pages_of_named_origins_may_read_with_their_login(world: World) -> None:
    async with world.service(CORS_ORIGINS=f"{PORTAL}, {WALL}") as service:
        await service.until_ready()
        cookie = f"Cookie: __Host-livestate={service.token()}"
        for origin in (PORTAL, WALL, PORTAL.upper().replace("HTTPS", "https")):
            for path in (STREAM, SNAPSHOT, SESSION, f"{STREAM}/none"):
                for login in (cookie, as_(service.token()), "X-None: 1"):
                    sent = (login, f"Origin: {origin}", "Sec-Fetch-Site: cross-site")
                    answer = await head(service.port, get(path, *sent))
                    wanted = (401,) if "None" in login else (200, 404)
                    assert answer.status in wanted, (origin, path, login)
                    assert answer.headers["access-control-allow-origin"] == origin
                    assert answer.headers["access-control-allow-credentials"] == "true"
                    assert "Origin" in answer.headers["vary"]
        for method in ("POST", "DELETE"):  # nobody but our own pages logs in or out
            sent = (cookie, f"Origin: {PORTAL}", "Sec-Fetch-Site: cross-site")
            assert (await ask(service.port, get(SESSION, *sent, method=method))).status in (
                403,
                415,
            )


async def test_pages_of_other_origins_may_not(world: World) -> None:
    async with world.service(CORS_ORIGINS=PORTAL) as service, world.service() as unset:
        for one in (service, unset):
            await one.until_ready()
            cookie = f"Cookie: __Host-livestate={one.token()}"
            for origin in OTHERS:
                for path in (STREAM, SNAPSHOT):
                    answer = await head(one.port, get(path, cookie, f"Origin: {origin}"))
                    assert answer.status == 401
                    assert not [
                        each for each in answer.headers if each.startswith("access-control")
                    ]
                    assert ("Origin" in answer.headers.get("vary", "")) == (one is service)
            asked = get(SNAPSHOT, as_(one.token()), "Origin: https://evil.example")
            answer = await ask(one.port, asked)  # a program's proxy may add one: not our matter
            assert (answer.status, "access-control-allow-origin" in answer.headers) == (200, False)


async def test_a_preflight_is_answered_for_named_origins(world: World) -> None:
    wants = ("Access-Control-Request-Method: GET",
             "Access-Control-Request-Headers: authorization, last-event-id")  # fmt: skip
    async with world.service(CORS_ORIGINS=PORTAL) as service:
        for path in (STREAM, SNAPSHOT, SESSION, f"{STREAM}/key"):
            asked = get(path, f"Origin: {PORTAL}", *wants, method="OPTIONS")
            answer = await ask(service.port, asked)
            assert answer.status == 204
            assert answer.headers["access-control-allow-origin"] == PORTAL
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert {"authorization", "last-event-id"} <= set(
                answer.headers["access-control-allow-headers"].lower().split(", ")
            )
            assert answer.headers["access-control-allow-methods"] == "GET, HEAD"
            other = get(path, "Origin: https://evil.example", *wants, method="OPTIONS")
            assert "access-control-allow-origin" not in (await ask(service.port, other)).headers
        page = get("/live-calls", f"Origin: {PORTAL}", *wants, method="OPTIONS")
        assert "access-control-allow-origin" not in (await ask(service.port, page)).headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CORS_ORIGINS", "*"), ("CORS_ORIGINS", "null"), ("CORS_ORIGINS", "https://a.example/x"),
        ("CORS_ORIGINS", "https://a.example, *"), ("CORS_ORIGINS", "portal.example"),
        ("CORS_ORIGINS", "https://*.example"), ("CORS_ORIGINS", "https://a.example,"),
        ("PUBLIC_URL", "https://noc.example/a b"), ("PUBLIC_URL", "https://noc.example/a?b"),
        ("PUBLIC_URL", "https://noc.example/a/../b"), ("PUBLIC_URL", "noc.example/noc"),
        ("PUBLIC_URL", "https://noc.example//noc"),
        ("BIND", "unix:http.sock"), ("BIND", "unix:"), ("BIND", f"unix:/{'x' * 108}"),
    ],
)  # fmt: skip
def test_a_setting_that_no_browser_or_kernel_takes_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"LIVESTATE_{name}"):
        from_environment({f"LIVESTATE_{name}": value})


# -- a unix socket -------------------------------------------------------------------------------


async def test_a_unix_socket_serves_pages_and_streams(world: World, tmp_path: Path) -> None:
    path, port = tmp_path / "http.sock", free_port()
    old = socket.socket(socket.AF_UNIX)
    old.bind(str(path))  # a process that was killed left it
    old.close()
    addresses = {"NATS_URL": world.nats.url, "REDIS_URL": redis_acl.limited(world.redis.url)}
    own = addresses | {"BIND": f"unix:{path}", "READY_SECONDS": "1"}
    async with Instance(world.keys, own, port=port, admin_port=port) as service:
        await service.until_ready()
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
            login = {"Authorization": f"Bearer {service.token()}", "X-Forwarded-For": "192.0.2.7"}
            assert (await client.get("http://x/live-calls")).status_code == 200
            for _ in range(2):  # on a fresh connection, and on a used one
                async with client.stream("GET", f"http://x{STREAM}", headers=login) as answer:
                    assert answer.status_code == 200
                    async for line in answer.aiter_lines():
                        if line == "event: heartbeat":
                            break
                assert (await client.get(f"http://x{SNAPSHOT}", headers=login)).status_code == 200


def test_a_socket_in_use_or_another_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="is no socket"):
        listen(f"unix:{tmp_path}/file")
    with listen(f"unix:{tmp_path}/used"), pytest.raises(OSError, match="another process"):
        listen(f"unix:{tmp_path}/used")


# -- IPv6 and addresses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bind", "reached"),
    [
        ("[::1]:0", ["::1"]), ("[::]:0", ["::1", "127.0.0.1"]), ("0.0.0.0:0", ["127.0.0.1"]),
        ("localhost:0", ["127.0.0.1"]), ("[::ffff:127.0.0.1]:0", ["127.0.0.1"]),
    ],
)  # fmt: skip
def test_an_address_is_listened_on(bind: str, reached: list[str]) -> None:
    with listen(bind) as listener:
        for host in reached:
            with socket.create_connection((host, listener.getsockname()[1]), timeout=5):
                pass


def test_a_link_local_address_is_listened_on_with_its_zone() -> None:
    lines = Path("/proc/net/if_inet6").read_text().split("\n")
    own = [line.split() for line in lines if line.startswith("fe80")]
    if not own:
        pytest.skip("no interface has a link-local address")
    address, zone = str(IPv6Address(int(own[0][0], 16))), own[0][5]
    with listen(f"[{address}%{zone}]:0") as listener:
        with socket.create_connection((f"{address}%{zone}", listener.getsockname()[1]), timeout=5):
            pass


async def test_a_host_may_be_an_ipv6_literal(world: World) -> None:
    own = {"NATS_URL": world.nats.url, "REDIS_URL": redis_acl.limited(world.redis.url),
           "READY_SECONDS": "1"}  # fmt: skip
    port, admin_port = free_port(), free_port()
    own["BIND"] = f"[::1]:{port}"
    async with Instance(world.keys, own, port=admin_port, admin_port=admin_port) as service:
        await service.until_ready()
        cookie = f"__Host-livestate={service.token()}"
        async with httpx.AsyncClient(base_url=f"http://[::1]:{port}") as client:
            for host in (f"[::1]:{port}", "[::1]", "[fe80::1%25lo]", "[fe80::1%lo]:8080"):
                headers = {"Host": host, "Cookie": cookie, "Origin": f"http://{host}"}
                assert (await client.get(SNAPSHOT, headers=headers)).status_code == 200, host


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("", [], None),
        ("", ["192.0.2.7"], "192.0.2.7"),
        ("", ["198.51.100.1, 192.0.2.7:51000"], "192.0.2.7"),
        ("::1", ["[2001:db8:1:2:3::4]:51000"], "2001:db8:1:2::/64"),
        ("::1", ['"[2001:db8:1:2:3::4]:51000"'], "2001:db8:1:2::/64"),
        ("::1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("::ffff:127.0.0.1", ["::ffff:192.0.2.7"], "192.0.2.7"),
        ("::1", ["fe80::1:2%eth0"], "fe80::1:2"),
        ("fe80::9%eth0", ["192.0.2.7"], "192.0.2.7"),
        ("::1", ["unknown"], "::/64"),  # on the proxy
        ("::1", ["192.0.2.7, _hidden"], "::/64"),
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),
    ],
)
def test_a_client_is_counted_on_its_own_address(
    peer: str, forwarded: list[str], client: str | None
) -> None:
    trusted = networks("127.0.0.1, [::1], fe80::9")
    assert client_of(peer, forwarded, trusted) == client


def test_a_unix_socket_is_reached_from_this_machine_only() -> None:
    assert on_loopback("unix:/run/livestate/http.sock")


@pytest.mark.parametrize(
    ("bind", "public_url", "warned"),
    [
        ("127.0.0.1:8080", None, False), ("unix:/run/x", None, False), ("0.0.0.0:8080", None, True),
        ("10.1.2.3:8080", "https://noc.example", False), ("[::]:80", "http://10.1.2.3", True),
        ("127.0.0.1:8080", "http://noc.lan", True), ("0.0.0.0:80", "http://localhost:80", False),
    ],
)  # fmt: skip
def test_plain_http_that_browsers_do_not_log_in_over_is_said(
    bind: str, public_url: str | None, warned: bool
) -> None:
    assert (plain_http(bind, public_url) is not None) == warned
