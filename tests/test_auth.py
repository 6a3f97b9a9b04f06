"""Logins in pieces: algorithms, key files, the cookie. Who must stay out: tests/abuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth import Verifier
from api.instance import Instance
from api.keys import KeySet, Unauthenticated
from tests.abuse.provider import AUDIENCE, EC, ED, ISSUER, RSA, claims, public, publish, sign
from tests.harness import STREAM


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


def test_without_keys_nobody_gets_in() -> None:
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
async def test_a_bad_login_is_told_why(
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
    """What fits into a header may be too long for a cookie, which a browser drops silently."""
    token = service.token(subject="s" * 3_000)
    async with httpx.AsyncClient(base_url=service.url) as client:
        bearer = {"Authorization": f"Bearer {token}"}
        assert (await client.get("/api/v1/session", headers=bearer)).status_code == 200
        answer = await client.post("/api/v1/session", json={"token": token})
        assert answer.status_code == 413
        assert "cookie" in answer.json()["detail"]
        assert "set-cookie" not in answer.headers
