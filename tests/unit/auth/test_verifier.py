"""Verification of tokens: algorithms, key files, the cookie. Refusals: tests/abuse."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from api.auth.claims import Unauthenticated, Unavailable
from api.auth.keys import KeySet
from api.auth.verifier import Verifier
from api.cli.child_service import Instance
from livestate.state.access import Forbidden
from tests.abuse import provider
from tests.abuse.conftest import Guarded, _guarded_process, guarded
from tests.abuse.provider import (
    AUDIENCE,
    EC,
    ED,
    ISSUER,
    RSA,
    claims,
    public,
    publish,
    sign,
    wrong_claims,
)
from tests.harness import STREAM
from tests.unit.auth.test_weak_keys import P384, P521

__all__ = ["_guarded_process", "guarded"]


@pytest.fixture
async def verifier(tmp_path: Path) -> Verifier:
    publish(tmp_path / "jwks.json", ed=ED, rsa=RSA, ec=EC)
    key_set = KeySet(str(tmp_path / "jwks.json"))
    await key_set.refresh()
    return Verifier(key_set, issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize(
    ("key", "kid", "alg"),
    [(ED, "ed", "EdDSA"), (RSA, "rsa", "RS256"), (RSA, "rsa", "PS512"), (EC, "ec", "ES256")],
)
def test_every_allowed_algorithm_gets_in(verifier: Verifier, key: Any, kid: str, alg: str) -> None:
    assert verifier.verify(sign(claims(), key, alg, kid=kid)).role == "noc"


def test_a_company_is_an_exact_string(verifier: Verifier) -> None:
    assert verifier.verify(sign(claims(role="user", company_id="0101"))).company_id == "0101"


def test_without_keys_no_token_is_accepted() -> None:
    with pytest.raises(Unauthenticated):
        Verifier(KeySet(None), issuer=ISSUER, audience=AUDIENCE).verify(sign(claims()))


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"keys": 7}', '{"keys": []}', "<html>"])
async def test_a_broken_key_file_keeps_the_keys_we_have(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [public(ED, "ed")]}))
    keys = KeySet(str(file))
    await keys.refresh()
    file.write_text(broken)
    with pytest.raises(ValueError, match=r"."):
        await keys.refresh()
    assert Verifier(keys, issuer=ISSUER, audience=AUDIENCE).verify(sign(claims())).role == "noc"


async def test_a_session_cookie_is_strict_and_lets_the_same_site_in(service: Instance) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        answer = await client.post("/api/v1/session", json={"token": service.token()})
        assert answer.status_code == 200
        assert answer.json()["role"] == "noc"
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-livestate=")
        for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Strict", "Max-Age="):
            assert attribute in cookie
        assert "Domain" not in cookie
        sent = {"Cookie": cookie.partition(";")[0]}
        path = STREAM + "/snapshot"
        assert (await client.get(path, headers=sent)).status_code == 200
        own = {"Sec-Fetch-Site": "same-origin", "Origin": service.url}
        assert (await client.get(path, headers=sent | own)).status_code == 200
        out = await client.delete("/api/v1/session", headers=sent)
        assert out.status_code == 204
        assert "Max-Age=0" in out.headers["set-cookie"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {}, 400), (b"null", {}, 400), (b'{"token": 7}', {}, 400), (b"\xff", {}, 400),
        (b'{"token": "x"}', {}, 401), (b"x" * 20_000, {}, 413),
        (b"token=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)  # fmt: skip
async def test_a_bad_login_gets_the_reason(
    service: Instance, body: bytes, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        sent = {"Content-Type": "application/json"} | headers
        answer = await client.post("/api/v1/session", content=body, headers=sent)
        assert answer.status_code == status
        assert answer.json()["detail"]
        assert "set-cookie" not in answer.headers


async def test_a_token_that_no_browser_would_keep_is_refused_and_not_forgotten(
    service: Instance,
) -> None:
    """A token that fits a header may be too long for a cookie, which a browser drops silently."""
    token = service.token(subject="s" * 3_000)
    async with httpx.AsyncClient(base_url=service.url) as client:
        bearer = {"Authorization": f"Bearer {token}"}
        assert (await client.get("/api/v1/session", headers=bearer)).status_code == 200
        answer = await client.post("/api/v1/session", json={"token": token})
        assert answer.status_code == 413
        assert "cookie" in answer.json()["detail"]
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        ({}, {"typ": "Bearer", "nonce": "f122"}),  # Keycloak with a nonce in the access token
        ({"typ": "at+jwt"}, {"nonce": "f122"}), ({"typ": "application/at+jwt"}, {}),
        ({}, {"nonce": "f122"}),  # says nothing of a token's kind
        ({"typ": "AT+JWT"}, {}), ({"typ": "jwt"}, {"exp": time.time() + 399 * 86_400}),
        ({}, {"iat": time.time() + 4}), ({}, {"jti": "x-1"}), ({}, {"sub": "Zoë Ünal"}),
        ({}, {"cnf": None}),
    ],
)  # fmt: skip
def test_an_access_token_as_providers_make_them_gets_in(
    verifier: Verifier, headers: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert verifier.verify(sign(claims(**changes), **headers)).role == "noc"


@pytest.mark.parametrize("what", list(wrong_claims()))
def test_a_token_with_a_wrong_claim_is_refused_with_a_reason(verifier: Verifier, what: str) -> None:
    with pytest.raises(Unauthenticated, match=r"\w+ \w+"):
        verifier.verify(sign(claims(**wrong_claims()[what])))


@pytest.mark.parametrize("number", [101, 101.0, 10**30])
def test_a_numeric_company_is_refused_with_advice(verifier: Verifier, number: float) -> None:
    with pytest.raises(Forbidden, match=r"is a number: let the identity provider write it as text"):
        verifier.verify(sign(claims(role="user", company_id=number)))


async def test_keys_are_used_by_what_they_are(tmp_path: Path) -> None:
    """Two keys with one kid, curves beside each other, and keys without a kid."""
    other = ec.generate_private_key(ec.SECP256R1())
    listed = [public(RSA, "one"), public(ED, "one"), public(EC, "one"), public(other, "one"),
              public(P384, "x")]  # fmt: skip
    del listed[-1]["kid"]
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": listed}))
    keys = KeySet(str(file))
    await keys.refresh()
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
    for key, alg, kid in ((RSA, "RS256", "one"), (ED, "EdDSA", "one"), (EC, "ES256", "one"),
                          (other, "ES256", "one"), (other, "ES256", None), (P384, "ES384", None),
                          (P384, "ES384", "of-the-header-only")):  # fmt: skip
        assert verifier.verify(sign(claims(), key, alg, kid=kid)).role == "noc", (alg, kid)
    for key, alg, kid in ((provider.STRANGER, "EdDSA", "one"), (ED, "EdDSA", "two"),
                          (P521, "ES512", None)):  # fmt: skip
        with pytest.raises(Unauthenticated):
            verifier.verify(sign(claims(), key, alg, kid=kid))


async def test_before_keys_are_read_no_token_is_called_wrong(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    keys = KeySet(str(file))
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
    with pytest.raises(Unavailable):
        verifier.verify(sign(claims()))
    with pytest.raises(Unauthenticated):
        verifier.verify(sign(claims(exp=1)))
    publish(file, ed=ED)
    await keys.refresh()
    assert verifier.verify(sign(claims())).role == "noc"


async def test_an_unknown_kid_wakes_the_fetch_but_not_often() -> None:
    asked: list[float] = []
    now = 1_000.0
    published = [public(ED, "ed")]

    async def jwks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.append(now)
        body = json.dumps({"keys": published}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(jwks, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    keys = KeySet(f"http://{host}:{port}/", steady=lambda: now)
    running = asyncio.create_task(keys.run())
    try:
        async with server, asyncio.timeout(10):
            while not keys.keys:
                await asyncio.sleep(0.01)
            verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
            published.append(public(provider.RETIRING, "new"))
            for later in (1.0, 29.0, 31.0, 31.5, 32.0):
                now = 1_000.0 + later
                with pytest.raises(Unauthenticated):
                    verifier.verify(sign(claims(), kid=f"guessed-{later}"))
                await asyncio.sleep(0.05)
            while keys.version < 2:
                await asyncio.sleep(0.01)
            assert len(asked) == 2  # five tokens, one fetch
            assert verifier.verify(sign(claims(), provider.RETIRING, kid="new")).role == "noc"
    finally:
        running.cancel()


async def test_an_encryption_key_beside_a_signing_key_is_ignored(tmp_path: Path) -> None:
    """As Keycloak publishes them; the token names none."""
    file = tmp_path / "jwks.json"
    encryption = public(rsa.generate_private_key(65_537, 2048), "enc", use="enc", alg="RSA-OAEP")
    file.write_text(json.dumps({"keys": [encryption, public(RSA, "sig", use="sig", alg="RS256")]}))
    keys = KeySet(str(file))
    await keys.refresh()
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
    assert verifier.verify(sign(claims(), RSA, "RS256", kid=None)).role == "noc"


@pytest.mark.parametrize("exp", [2**53 - 1, 10**12, 253_402_300_800, 99_999_999_999, 1e15])
async def test_a_login_never_ends_in_a_500(guarded: Guarded, exp: float) -> None:
    async with httpx.AsyncClient(base_url=guarded.url) as client:
        for wrong in (exp, -exp, float("inf"), float("nan"), str(exp), [exp], True, None, 10**400):
            token = sign(claims(exp=wrong))
            answer = await client.post("/api/v1/session", json={"token": token})
            assert answer.status_code == 401, wrong
            cookie = {"Cookie": f"__Host-livestate={token}"}
            assert (await client.get("/api/v1/session", headers=cookie)).status_code == 401
            assert (await client.delete("/api/v1/session", headers=cookie)).status_code == 204
        longest = sign(claims(exp=time.time() + 399.9 * 86_400))
        answer = await client.post("/api/v1/session", json={"token": longest})
        assert answer.status_code == 200
        assert int(answer.headers["set-cookie"].split("Max-Age=")[1].split(";")[0]) <= 400 * 86_400


async def test_a_key_that_comes_or_goes_leaves_the_logins_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    publish(file, ed=ED, rsa=RSA)
    keys = KeySet(str(file))
    await keys.refresh()
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
    staying, leaving = sign(claims()), sign(claims(), RSA, "RS256", kid="rsa")
    assert verifier.still_good(staying)
    assert verifier.still_good(leaving)
    publish(file, ed=ED, ec=EC)
    await keys.refresh()
    assert verifier.still_good(staying)
    assert not verifier.still_good(leaving)
