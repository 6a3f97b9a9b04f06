"""Invalid logins are refused, and streams whose login ends are closed: on the wire."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

from api.cli.child_service import Instance
from tests.abuse import provider
from tests.abuse.conftest import Guarded, all_keys
from tests.abuse.provider import claims, sign
from tests.abuse.raw import PROBLEM, SNAPSHOT, Answer, as_, ask, get
from tests.harness import STREAM, Node, Stream

GUARDED_PATHS = (STREAM, SNAPSHOT, STREAM + "/some-key", "/api/v1/session")


def refused(answer: Answer, status: int) -> None:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "set-cookie" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers
    assert orjson.loads(answer.body)["status"] == status


@pytest.mark.parametrize(
    "line",
    [
        "X: no login at all", "Authorization:", "Authorization: Bearer", "Authorization: Bearer  ",
        "Authorization: Basic dXNlcjpwYXNz", "Authorization: Bearer x.y.z",
        "Authorization: Bearer \udcff\udcfe", "Authorization: Bearer\tx", "Cookie: livestate=x",
        "Cookie: __Host-livestate=", "Cookie: __Host-livestate=x", "Cookie: =;=;__Host-livestate",
        "Authorization: Bearer a\r\nAuthorization: Bearer a",
    ],
)  # fmt: skip
async def test_without_a_login_it_is_401(guarded: Guarded, line: str) -> None:
    for path in GUARDED_PATHS:
        refused(await ask(guarded.port, get(path, line)), 401)


async def test_a_login_that_is_not_where_it_belongs_is_none(guarded: Guarded) -> None:
    good = sign(claims())
    for name in ("token", "access_token", "authorization", "jwt"):
        refused(await ask(guarded.port, get(f"{STREAM}?{name}={good}")), 401)
    twice = get(SNAPSHOT, as_(good), as_(good))
    refused(await ask(guarded.port, twice), 401)
    assert (await ask(guarded.port, get(SNAPSHOT, as_(good)))).status == 200


async def test_forged_tokens_are_401_and_nothing_is_fetched_because_of_them(
    guarded: Guarded,
) -> None:
    requests: list[Any] = []

    async def listening(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(writer.get_extra_info("peername"))
        writer.close()

    listener = await asyncio.start_server(listening, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    async with listener:
        for what, token in provider.forged(f"http://{host}:{port}/keys").items():
            answer = await ask(guarded.port, get(SNAPSHOT, as_(token)))
            assert answer.status == 401, what
            refused(answer, 401)
            text = answer.body.decode()
            assert not any(part in text for part in token.split(".") if len(part) > 8), what
            cookie = await ask(guarded.port, get(SNAPSHOT, f"Cookie: __Host-livestate={token}"))
            assert cookie.status in (401, 431), what
        assert requests == []


async def test_a_token_of_a_megabyte_is_refused_before_anything_reads_it(guarded: Guarded) -> None:
    answer = await ask(guarded.port, get(SNAPSHOT, as_("x" * 1_000_000)))
    assert answer.status in (0, 431)  # 0: its end was still on the way when the door closed
    if answer.status:
        assert answer.headers["content-type"] == PROBLEM
        assert answer.headers["cache-control"] == "no-store"


async def test_wrong_claims_are_401(guarded: Guarded) -> None:
    for what, changes in provider.wrong_claims().items():
        for path in (STREAM, SNAPSHOT):
            answer = await ask(guarded.port, get(path, as_(sign(claims(**changes)))))
            assert answer.status == 401, what
            refused(answer, 401)


async def test_a_valid_token_without_a_role_is_403(guarded: Guarded) -> None:
    for what, changes in provider.wrong_roles().items():
        for path in (STREAM, SNAPSHOT):
            answer = await ask(guarded.port, get(path, as_(sign(claims(**changes)))))
            assert answer.status == 403, what
            refused(answer, 403)
            assert "insufficient_scope" in answer.headers["www-authenticate"]


async def test_a_page_of_another_site_cannot_use_a_cookie(service: Instance) -> None:
    cookie = f"Cookie: __Host-livestate={service.token()}"
    own = ("Host: x", "Origin: http://x", "Sec-Fetch-Site: same-origin")
    assert (await ask(service.port, get(SNAPSHOT, cookie, *own[1:]))).status == 200
    for foreign in ("Origin: https://evil.example", "Origin: null", "Origin: http://x.evil.example",
                    "Origin: http://[", "Origin: http://x@evil.example", "Origin: ",
                    "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"):  # fmt: skip
        for path in (STREAM, SNAPSHOT, STREAM + "/key", "/api/v1/session"):
            refused(await ask(service.port, get(path, cookie, foreign)), 401)
        out = await ask(service.port, get("/api/v1/session", cookie, foreign, method="DELETE"))
        assert (out.status, "set-cookie" in out.headers) == (403, False)
        body = orjson.dumps({"token": service.token()})
        login = get("/api/v1/session", foreign, "Content-Type: application/json",
                    f"Content-Length: {len(body)}", method="POST") + body  # fmt: skip
        into = await ask(service.port, login)
        assert (into.status, "set-cookie" in into.headers) == (403, False)


async def test_no_header_changes_the_identity(service: Instance, node: Node) -> None:
    """A plain user stays one, whatever headers, parameters and cookies claim."""
    mine, theirs = f"mine-{node.name}", f"theirs-{node.name}"
    await node.call("1.1", company_id=mine)
    await node.call("2.2", company_id=theirs)
    token = service.token("user", company_id=mine)
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: len(s.dashboard.calls) == 1)
    wishes = [f"company_id={theirs}", "role=admin", f"company_id={theirs}&company_id={mine}",
              f"company_id={mine}&company_id={theirs}", "company_id=*", "company_id[]=1",
              f"company={theirs}", f"sub=admin&role=noc&company_id={theirs}"]  # fmt: skip
    claimed = ["X-Role: admin", f"X-Company-Id: {theirs}", "X-Forwarded-User: admin",
               "X-Remote-User: admin", f"X-Company-Id: {mine}\r\nX-Company-Id: {theirs}",
               f"Cookie: role=admin; company_id={theirs}", "X-Original-URL: /metrics",
               "X-HTTP-Method-Override: DELETE",
               f"Cookie: __Host-livestate={service.token()}"]  # fmt: skip
    for path, headers in [(f"{SNAPSHOT}?{wish}", ()) for wish in wishes] + [
        (SNAPSHOT, (claim,)) for claim in claimed
    ]:
        answer = await ask(service.port, get(path, as_(token), *headers))
        assert answer.status == 200, (path, headers)
        shown = orjson.loads(answer.body)["calls"].values()
        assert [call["company_id"] for call in shown] == [mine], (path, headers)


async def test_a_login_that_is_no_longer_good_ends_its_streams(
    guarded: Guarded, node: Node
) -> None:
    """Expired, disabled, another role or company, its key withdrawn: at most 5 s, then silence, a
    goodbye, the end. No other stream notices."""
    stays = sign(claims(sub="stays"))
    gone = {
        "expired": sign(claims(sub="short", exp=int(time.time()) + 3)),
        "disabled": sign(claims(sub="mallory")),
        "another role": sign(claims(sub="climber", jti="old-role", role="admin")),
        "another company": sign(claims(sub="mover", jti="old", role="user", company_id="before")),
        "key withdrawn": sign(claims(sub="old-key"), provider.RETIRING, kid="retiring"),
    }
    streams = {what: await Stream.open(guarded.url, token) for what, token in gone.items()}
    other = await Stream.open(guarded.url, stays)
    for stream in (*streams.values(), other):
        await stream.until(lambda s: s.named("heartbeat"))
    for company in ("before", "after"):
        await node.call(f"{company}.1", company_id=company)
    guarded.revoked.write_text("mallory\nold-role\nold\n")
    provider.publish(guarded.jwks, ed=provider.ED, rsa=provider.RSA, ec=provider.EC)
    try:
        async with asyncio.timeout(5):
            for stream in streams.values():
                await stream.over.wait()
        received = len(other.events)
        await node.say("hold", "before.1", company_id="before")
        await other.until(lambda s: len(s.events) > received)
        for what, stream in streams.items():
            assert stream.dashboard.goodbye == ("expired" if what == "expired" else "revoked"), what
            assert stream.events[-1].name == "goodbye"
            assert stream.states.get(f"before.1@{node.name}") != "held"
        for token in gone.values():
            refused(await ask(guarded.port, get(STREAM, as_(token))), 401)
        moved = sign(claims(sub="mover", jti="new", role="user", company_id="after"))
        async with await Stream.open(guarded.url, moved) as stream:
            await stream.until(lambda s: s.dashboard.calls)
            assert set(stream.states) == {f"after.1@{node.name}"}
    finally:
        guarded.revoked.write_text("")
        all_keys(guarded)
        for stream in (*streams.values(), other):
            await stream.close()


async def test_only_a_demo_has_a_form_to_paste_a_token_into(
    service: Instance, guarded: Guarded
) -> None:
    """The form of the page is hidden until its script finds the mark of a demo."""
    for server, is_demo in ((service, True), (guarded, False)):
        page = (await ask(server.port, get("/login"))).body
        assert b'<form id="form" hidden>' in page
        assert (b"data-demo" in page) is is_demo
