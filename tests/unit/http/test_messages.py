"""HTTP messages as proxies and uncommon clients write them (RFC 9110, RFC 9112)."""

from __future__ import annotations

import asyncio
import base64

import orjson
import pytest

from api.cli.child_service import Instance
from tests.abuse.raw import SNAPSHOT, Answer, as_, ask, connection, get
from tests.harness import STREAM, Node

SESSION = "/api/v1/session"
BASIC = f"Authorization: Basic {base64.b64encode(b'noc:secret').decode()}"


async def head(service: Instance, request: bytes) -> Answer:
    """The head of a response, which may have no end."""
    async with connection(service.port) as (reader, writer), asyncio.timeout(5):
        writer.write(request)
        return Answer.of(await reader.readuntil(b"\r\n\r\n"))


def cookie(service: Instance) -> str:
    return f"Cookie: __Host-livestate={service.token()}"


# -- RFC 9112 §3.2.2: a server accepts the absolute form -----------------------------------------


@pytest.mark.parametrize("origin", ["http://x", "HTTP://x:80", "https://noc.example:8443",
                                    "http://[::1]:8080"])  # fmt: skip
async def test_an_absolute_target_is_its_path(service: Instance, node: Node, origin: str) -> None:
    login = as_(service.token())
    for path, status in ((SNAPSHOT, 200), (f"{STREAM}?state=ringing", 200), ("/live-calls", 200),
                         (f"{STREAM}/none", 404)):  # fmt: skip
        assert (await head(service, get(origin + path, login))).status == status, path
    answer = await ask(service.port, get(origin))
    assert (answer.status, answer.headers["location"]) == (302, "live-calls")


async def test_the_host_of_an_absolute_target_replaces_the_header(service: Instance) -> None:
    own = (cookie(service), "Origin: http://noc.example")
    assert (await ask(service.port, get(f"http://noc.example{SNAPSHOT}", *own))).status == 200
    assert (await ask(service.port, get(f"http://other.example{SNAPSHOT}", *own))).status == 401


@pytest.mark.parametrize("target", ["ftp://x/", "http://", "http:///", "http://x@y/", "http://x y/",
                                    "x:80", "http://x/%00", "*"])  # fmt: skip
async def test_what_is_no_target_is_refused(service: Instance, target: str) -> None:
    assert (await ask(service.port, get(target))).status in (400, 404)


# -- RFC 9110 §9.3.2: the response to HEAD has the headers of the one to GET ---------------------


@pytest.mark.parametrize("path", ["/live-calls", "/static/main.js", "/login", "/", SESSION,
                                  STREAM, SNAPSHOT, f"{STREAM}/none", "/none"])  # fmt: skip
@pytest.mark.parametrize("logged_in", [True, False])
async def test_head_has_the_headers_of_get(service: Instance, path: str, logged_in: bool) -> None:
    login = (as_(service.token()),) if logged_in else ()
    got = await head(service, get(path, *login))
    asked = get(path, *login, "Connection: close", method="HEAD")
    async with connection(service.port) as (reader, writer), asyncio.timeout(5):
        writer.write(asked)
        block, _, body = (await reader.read()).partition(b"\r\n\r\n")
    answer = Answer.of(block)
    assert (answer.status, body) == (got.status, b"")
    for each in (got.headers, answer.headers):
        for varies in (
            "date",
            "expires",
            "connection",
            "transfer-encoding",
        ):  # of another second, or RFC 9110 §9.3.2: may be left out
            each.pop(varies, None)
    if path == SNAPSHOT and logged_in:  # each is of its own moment
        assert (
            abs(
                int(got.headers.pop("content-length"))
                - int(answer.headers.pop("content-length", "0"))
            )
            < 9
        )
    assert answer.headers == got.headers


# -- RFC 9110 §12.5.1 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/event-stream;charset=utf-8", 200),
        ("text/event-stream; charset=utf-8; q=0.9", 200),
        ('text/event-stream;charset="utf-8"', 200),
        ('text/event-stream;a=",;q=0";q=0.5', 200),
        ("Text/Event-Stream ; Charset = x", 200),
        ("text/event-stream;q=0.00001, text/html", 200),
        ("text/html, text/event-stream;q=1.0000", 200),
        ("application/json, text/plain, */*", 200),
        ("", 200),
        (" , ,", 200),
        ("text/event-stream;q=0", 406),
        ("text/event-stream;charset=utf-8;q=0", 406),
        ("text/html", 406),
    ],
)
async def test_accept_may_have_parameters(service: Instance, accept: str, status: int) -> None:
    for path in (STREAM, f"{STREAM}?state=ringing"):
        asked = get(path, as_(service.token()), f"Accept: {accept}")
        assert (await head(service, asked)).status == status


# -- RFC 9112 §7.1: a body in chunks --------------------------------------------------------------


async def test_a_login_may_come_in_chunks(service: Instance) -> None:
    body = orjson.dumps({"token": service.token()})
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (body[:7], body[7:]))
    asked = get(SESSION, "Transfer-Encoding: chunked", "Content-Type: application/json",
                method="POST")  # fmt: skip
    answer = await ask(service.port, asked + chunks + b"0\r\n\r\n")
    assert answer.status == 200
    assert answer.headers["set-cookie"].startswith("__Host-livestate=")


async def test_a_login_in_too_many_chunks_is_refused(service: Instance) -> None:
    asked = get(SESSION, "Transfer-Encoding: chunked", "Content-Type: application/json",
                method="POST")  # fmt: skip
    chunk = b"1000\r\n%b\r\n" % (b" " * 4096)
    assert (await ask(service.port, asked + chunk * 5 + b"0\r\n\r\n")).status == 413


async def test_a_login_by_header_may_have_an_empty_body_in_chunks(service: Instance) -> None:
    asked = get(SESSION, as_(service.token()), "Transfer-Encoding: chunked", method="POST")
    assert (await ask(service.port, asked + b"0\r\n\r\n")).status == 200


# -- RFC 9110 §7.6.1: Connection is a list --------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "closes"),
    [
        (["Connection: upgrade, close", "Upgrade: h2c"], True),
        (["Connection: Upgrade, Close", "Upgrade: websocket"], True),
        (["Connection: keep-alive", "Connection: close"], True),
        (["Connection: upgrade", "Upgrade: websocket"], False),
        (["Connection: keep-alive, x-close"], False),
        (["Connection: close-enough"], False),
    ],
)
async def test_connection_is_a_list(service: Instance, lines: list[str], closes: bool) -> None:
    for path in (SNAPSHOT, STREAM):
        answer = await head(service, get(path, as_(service.token()), *lines))
        assert answer.status == 200
        assert (answer.headers.get("connection") == "close") == closes, path
    async with connection(service.port) as (reader, writer), asyncio.timeout(5):
        writer.write(get("/none", *lines))
        answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(int(answer.headers["content-length"]))
        if closes:
            assert await reader.read() == b""
        else:
            writer.write(get("/none"))
            assert await reader.readuntil(b"\r\n\r\n")


# -- a login beside a proxy's own, and whose page asks --------------------------------------------


async def test_basic_auth_of_a_proxy_does_not_hide_the_cookie(service: Instance) -> None:
    for path in (SNAPSHOT, STREAM, SESSION):
        asked = get(path, cookie(service), BASIC)
        assert (await head(service, asked)).status == 200, path
    out = await ask(service.port, get(SESSION, cookie(service), BASIC, method="DELETE"))
    assert (out.status, "Max-Age=0" in out.headers["set-cookie"]) == (204, True)


async def test_basic_auth_of_a_proxy_does_not_hide_a_login_in_json(service: Instance) -> None:
    body = orjson.dumps({"token": service.token()})
    asked = get(SESSION, BASIC, "Content-Type: application/json", f"Content-Length: {len(body)}",
                method="POST") + body  # fmt: skip
    assert (await ask(service.port, asked)).status == 200


async def test_a_bearer_token_beside_basic_auth_counts(service: Instance) -> None:
    bad = f"Cookie: __Host-livestate={service.token()}x"
    for lines in ((BASIC, as_(service.token())), (as_(service.token()), BASIC)):
        assert (await ask(service.port, get(SNAPSHOT, *lines, bad))).status == 200
    twice = (as_(service.token()), as_(service.token()))
    for lines in ((BASIC,), ("Authorization: Bearer",), twice,
                  ("Authorization: Bearer x", cookie(service))):  # fmt: skip
        assert (await ask(service.port, get(SNAPSHOT, *lines))).status == 401


async def test_sec_fetch_site_alone_suffices(service: Instance) -> None:
    """Behind nginx on port 8443 with ``proxy_set_header Host $host``, Host has no port."""
    own = ("Sec-Fetch-Site: same-origin", "Origin: https://noc.example:8443")
    for path in (SNAPSHOT, STREAM, SESSION):
        asked = get(path, cookie(service), *own, host="noc.example")
        assert (await head(service, asked)).status == 200, path
    asked = get(SESSION, as_(service.token()), *own, host="noc.example", method="POST")
    assert (await ask(service.port, asked)).status == 200
    for other in ("cross-site", "same-site", "none, same-origin", "x"):
        asked = get(SNAPSHOT, cookie(service), f"Sec-Fetch-Site: {other}", own[1],
                    host="noc.example")  # fmt: skip
        assert (await ask(service.port, asked)).status == 401, other
