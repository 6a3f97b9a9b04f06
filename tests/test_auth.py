"""Who gets in: tokens as RFC 8725 wants them, cookies, and everything that must stay out."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from api.auth import Verifier
from api.instance import Instance
from api.keys import KeySet, Revocations, Unauthenticated
from livestate.access import Forbidden
from tests.harness import STREAM, bearer

ISSUER, AUDIENCE = "https://login.example", "livestate"
Mint = Callable[..., str]

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm = {rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
                 ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
                 ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm}  # fmt: skip
    (made,) = (a for kind, a in algorithm.items() if isinstance(key, kind))
    return json.loads(made.to_jwk(key.public_key())) | {"kid": kid, **more}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "role": "noc", "exp": now + 60} | changes
    return {name: value for name, value in told.items() if value is not ...}


def sign(told: dict[str, Any], key: Any = ED, alg: str = "EdDSA", **headers: Any) -> str:
    return jwt.encode(told, key, algorithm=alg, headers={"kid": "ed"} | headers)


@pytest.fixture
async def verifier(tmp_path: Path) -> Verifier:
    keys = tmp_path / "jwks.json"
    secret = {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(b"x" * 32).decode()}
    keys.write_text(json.dumps(
        {"keys": [public(ED, "ed"), public(RSA, "rsa"), public(EC, "ec"), secret]}
    ))  # fmt: skip
    key_set = KeySet(str(keys))
    await key_set.refresh()
    return Verifier(key_set, issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize(
    ("key", "kid", "alg"),
    [(ED, "ed", "EdDSA"), (RSA, "rsa", "RS256"), (RSA, "rsa", "PS512"), (EC, "ec", "ES256")],
)
def test_every_allowed_algorithm_gets_in(verifier: Verifier, key: Any, kid: str, alg: str) -> None:
    assert verifier.verify(sign(claims(), key, alg, kid=kid)).role == "noc"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": ...}, {"exp": 1}, {"exp": time.time() - 1}, {"exp": "9999999999"}, {"exp": None},
        {"exp": True}, {"exp": float("inf")}, {"exp": 1e300}, {"exp": -1},
        {"nbf": time.time() + 60}, {"nbf": "soon"},
        {"iss": ...}, {"iss": "https://evil.example"},
        {"aud": ...}, {"aud": "other"}, {"aud": ""}, {"aud": 7},
        {"nonce": "x"}, {"at_hash": "x"},
    ],
)  # fmt: skip
def test_wrong_claims_stay_out(verifier: Verifier, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(sign(claims(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"role": ...}, {"role": "Admin"}, {"role": "admin "}, {"role": ["admin"]}, {"role": None},
        {"role": "root"}, {"role": "user"}, {"role": "user", "company_id": ""},
        {"role": "user", "company_id": 101}, {"role": "user", "company_id": ["101"]},
        {"role": "user", "company_id": "x" * 65}, {"role": {"admin": True}},
    ],
)  # fmt: skip
def test_a_good_token_without_a_good_role_is_forbidden(
    verifier: Verifier, changes: dict[str, Any]
) -> None:
    with pytest.raises(Forbidden):
        verifier.verify(sign(claims(**changes)))


def test_a_company_is_an_exact_string(verifier: Verifier) -> None:
    assert verifier.verify(sign(claims(role="user", company_id="0101"))).company_id == "0101"


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged() -> list[Any]:
    good = sign(claims())
    head, body, signature = good.split(".")
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    confused = b64({"alg": "HS256", "kid": "rsa"}) + "." + b64(claims())
    import hashlib
    import hmac

    mac = b64(hmac.new(pem, confused.encode(), hashlib.sha256).digest())
    shared = jwt.encode(claims(), b"x" * 32, algorithm="HS256", headers={"kid": "secret"})
    own_key = sign(claims(), STRANGER, jwk=public(STRANGER, "ed"))
    return [
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="no base64"),
        pytest.param("." * 5, id="dots"),
        pytest.param("x" * 9000, id="huge"),
        pytest.param(f"{b64({'alg': 'none'})}.{body}.", id="alg none"),
        pytest.param(f"{b64({'alg': 'None', 'kid': 'ed'})}.{body}.{signature}", id="alg None"),
        pytest.param(f"{b64({'alg': ['EdDSA'], 'kid': 'ed'})}.{body}.{signature}", id="alg list"),
        pytest.param(f"{head}.{b64(claims(role='admin'))}.{signature}", id="changed body"),
        pytest.param(f"{head}.{body}.", id="no signature"),
        pytest.param(f"{confused}.{mac}", id="HS256 with the public key"),
        pytest.param(shared, id="HS256 with a shared secret of the set"),
        pytest.param(sign(claims(), STRANGER), id="a stranger's key"),
        pytest.param(own_key, id="a key brought along"),
        pytest.param(sign(claims(), STRANGER, jku="http://127.0.0.1:1/"), id="a URL of keys"),
        pytest.param(sign(claims(), kid="nobody"), id="unknown kid"),
        pytest.param(sign(claims(), kid="../../dev/null"), id="kid a path"),
        pytest.param(sign(claims(), kid="ec"), id="kid of another key"),
        pytest.param(sign(claims(), crit=["x"], x=1), id="critical header"),
        pytest.param(sign(claims(), typ="dpop+jwt"), id="another type"),
        pytest.param(sign(claims(), typ="secevent+jwt"), id="a security event"),
        pytest.param(good + "\n", id="newline"),
        pytest.param(good + "é", id="not ASCII"),
        pytest.param(b64({"alg": "EdDSA"}) + "." + b64(b"[" * 5000) + ".x", id="nested"),
    ]


@pytest.mark.parametrize("token", forged())
def test_forged_tokens_stay_out(verifier: Verifier, token: str) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_a_reason_never_repeats_the_token(verifier: Verifier) -> None:
    token = sign(claims(), STRANGER)
    with pytest.raises(Unauthenticated) as refused:
        verifier.verify(token)
    assert not any(part in refused.value.reason for part in token.split("."))


def test_without_keys_nobody_gets_in() -> None:
    with pytest.raises(Unauthenticated):
        Verifier(KeySet(None), issuer=ISSUER, audience=AUDIENCE).verify(sign(claims()))


async def test_new_keys_throw_out_what_the_old_ones_signed(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [public(ED, "ed")]}))
    keys = KeySet(str(file))
    await keys.refresh()
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
    token = sign(claims())
    verifier.verify(token)
    file.write_text(json.dumps({"keys": [public(STRANGER, "ed")]}))
    await keys.refresh()
    assert not verifier.still_good(token)


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


def test_a_revoked_subject_or_token_is_out(tmp_path: Path, verifier: Verifier) -> None:
    file = tmp_path / "revoked"
    revocations = Revocations(str(file))
    revocations.refresh()
    guarded = Verifier(verifier.keys, issuer=ISSUER, audience=AUDIENCE, revocations=revocations)
    tokens = sign(claims(sub="mallory")), sign(claims(jti="t-1")), sign(claims())
    assert all(map(guarded.still_good, tokens))
    file.write_text("mallory\nt-1\n\n")
    revocations.refresh()
    assert list(map(guarded.still_good, tokens)) == [False, False, True]


# -- over HTTP ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNz"}, {"Authorization": "Bearer x.y.z"},
        {"Cookie": "__Host-livestate="}, {"Cookie": "__Host-livestate=x"},
        {"Cookie": "livestate=x"},
    ],
)  # fmt: skip
async def test_without_a_login_it_is_401(service: Instance, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient() as client:
        for path in (STREAM, STREAM + "/snapshot", STREAM + "/some-key", "/api/v1/session"):
            answer = await client.get(service.url + path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_token_in_the_query_is_no_login(service: Instance) -> None:
    async with httpx.AsyncClient() as client:
        for name in ("token", "access_token", "authorization"):
            query = {name: service.token()}
            answer = await client.get(service.url + STREAM, params=query)
            assert answer.status_code == 401


async def test_two_authorization_headers_are_none(service: Instance) -> None:
    headers = [*bearer(service.token()).items(), *bearer(service.token("admin")).items()]
    async with httpx.AsyncClient() as client:
        answer = await client.get(service.url + STREAM + "/snapshot", headers=headers)
        assert answer.status_code == 401


async def test_a_wrong_role_is_403(service: Instance) -> None:
    async with httpx.AsyncClient(headers=bearer(service.token("user"))) as client:
        answer = await client.get(service.url + STREAM)
        assert answer.status_code == 403
        assert "insufficient_scope" in answer.headers["www-authenticate"]


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
        for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
                        {"Origin": "https://evil.example"}, {"Origin": "null"}):  # fmt: skip
            assert (await client.get(path, headers=sent | foreign)).status_code == 401
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
        (b'{"token": "x"}', {"Origin": "https://evil.example"}, 403),
        (b'{"token": "x"}', {"Sec-Fetch-Site": "cross-site"}, 403),
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
