"""Answers of a faulty or pretended identity provider, which a real one never gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from api.auth.claims import Unauthenticated, Unavailable
from api.auth.login_flow import Budget, page_to_return_to
from api.auth.oidc import BACKCHANNEL_EVENT, Provider
from api.auth.oidc_messages import Client, ProviderRefused
from tests.abuse.provider import ED, RSA, STRANGER, b64, public, sign

CLIENT = "livestate"


class Pretender:
    """Answers each path with what a test wants."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        status, body = self.answers.get(head.split()[1].decode(), (404, "no"))
        raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
        writer.write(b"HTTP/1.1 %d x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
                     % (status, len(raw), raw))  # fmt: skip
        await writer.drain()
        writer.close()


@pytest.fixture
async def pretender() -> AsyncIterator[Pretender]:
    pretender = Pretender()
    async with await asyncio.start_server(pretender.answer, "127.0.0.1", 0) as server:
        pretender.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        pretender.answers = {
            "/.well-known/openid-configuration": (200, {
                "issuer": pretender.url, "jwks_uri": f"{pretender.url}/jwks",
                "authorization_endpoint": f"{pretender.url}/authorize",
                "token_endpoint": f"{pretender.url}/token",
                "userinfo_endpoint": f"{pretender.url}/me", "scopes_supported": ["openid", "x"],
            }),
            "/jwks": (200, {"keys": [public(ED, "ed"), public(RSA, "rsa")]}),
        }  # fmt: skip
        yield pretender


@pytest.fixture
async def provider(pretender: Pretender) -> Provider:
    provider = Provider(Client(pretender.url, CLIENT, "s", "http://x/login/callback"))
    await provider.discover()
    return provider


def claims(provider: Provider, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claimed = {"iss": provider.client.issuer, "aud": CLIENT, "sub": "ann", "nonce": "n", "iat": now,
            "exp": now + 60, "role": "noc"} | changes  # fmt: skip
    return {name: value for name, value in claimed.items() if value is not ...}


async def test_a_good_answer_is_taken(provider: Provider, pretender: Pretender) -> None:
    token = sign(claims(provider, groups=["g" * 30] * 2_000))  # 60 KB: no cookie holds it
    pretender.answers["/token"] = (200, {"access_token": "opaque", "id_token": token,
                                         "expires_in": "300"})  # fmt: skip
    tokens = await provider.redeem("code", nonce="n", verifier="v" * 43)
    assert tokens.claims["role"] == "noc"
    assert 250 < tokens.expires_at - time.time() <= 300
    assert b"authorization: basic " in pretender.asked[-1].lower()
    assert provider.scopes == "openid profile"  # not offline_access: it is not supported


@pytest.mark.parametrize(
    "wrong",
    [{"nonce": "other"}, {"nonce": ...}, {"aud": "other"}, {"aud": ["other"]}, {"aud": ...},
     {"iss": "https://evil"}, {"iss": ...}, {"exp": 1}, {"exp": ...}, {"azp": "other"},
     {"iat": time.time() + 3600}, {"exp": "never"}],
)  # fmt: skip
async def test_an_id_token_of_another_login_is_refused(
    provider: Provider, pretender: Pretender, wrong: dict[str, Any]
) -> None:
    token = sign(claims(provider, **wrong))
    pretender.answers["/token"] = (200, {"access_token": "a", "id_token": token, "expires_in": 9})
    with pytest.raises(Unauthenticated):
        await provider.redeem("code", nonce="n", verifier="v")


@pytest.mark.parametrize("how", ["stranger", "none", "HS256", "cut", "no JWT"])
async def test_an_id_token_that_the_provider_did_not_sign_is_refused(
    provider: Provider, pretender: Pretender, how: str
) -> None:
    good = sign(claims(provider))
    token = {
        "stranger": sign(claims(provider), STRANGER),
        "none": f"{b64({'alg': 'none', 'kid': 'ed'})}.{good.split('.')[1]}.",
        "HS256": sign(claims(provider), b"x" * 32, "HS256"),
        "cut": good[:-4], "no JWT": "hello",
    }[how]  # fmt: skip
    pretender.answers["/token"] = (200, {"access_token": "a", "id_token": token})
    with pytest.raises(Unauthenticated):
        await provider.redeem("code", nonce="n", verifier="v")


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        ((200, {}), Unavailable), ((200, {"access_token": 7}), Unavailable),
        ((200, []), Unavailable),
        ((200, {"access_token": "a"}), Unavailable), ((200, "<html>"), Unavailable),
        ((302, ""), Unavailable), ((500, {"error": "invalid_grant"}), Unavailable),
        ((200, "x" * 2_000_000), Unavailable), ((400, {"error": "invalid_grant"}), ProviderRefused),
        ((401, {"error": "invalid_client"}), ProviderRefused), ((400, "no"), Unavailable),
    ],
)  # fmt: skip
async def test_any_other_answer_has_a_reason(
    provider: Provider, pretender: Pretender, answer: tuple[int, Any], raised: type[Exception]
) -> None:
    pretender.answers["/token"] = answer
    with pytest.raises(raised, match=r"\w+"):
        await provider.redeem("code", nonce="n", verifier="v")


async def test_only_a_refusal_of_the_person_is_final() -> None:
    for error, final in (("invalid_grant", True), ("access_denied", True),
                         ("invalid_client", False), ("server_error", False)):  # fmt: skip
        assert ProviderRefused(error).final is final


async def test_user_info_of_another_subject_is_refused(
    provider: Provider, pretender: Pretender
) -> None:
    pretender.answers["/me"] = (200, {"sub": "ann", "role": "admin"})
    assert (await provider.user_info("a", "ann"))["role"] == "admin"
    with pytest.raises(Unauthenticated):
        await provider.user_info("a", "bob")


@pytest.mark.parametrize(
    "wrong",
    [{"events": ...}, {"events": []}, {"events": {"other": {}}}, {"aud": "other"}, {"nonce": "n"},
     {"iss": "https://evil"}, {"iat": 1}, {"iat": time.time() + 600}, {"iat": "now"}, {"iat": ...},
     {"sub": ..., "sid": ...}],
)  # fmt: skip
def test_a_logout_token_that_is_none_is_refused(provider: Provider, wrong: dict[str, Any]) -> None:
    good = {"events": {BACKCHANNEL_EVENT: {}}, "nonce": ..., "exp": ..., "sid": "s1"}
    assert provider.logout_token(sign(claims(provider, **good)))["sid"] == "s1"
    with pytest.raises(Unauthenticated):
        provider.logout_token(sign(claims(provider, **good | wrong)))
    with pytest.raises(Unauthenticated):
        provider.logout_token(sign(claims(provider, **good), STRANGER))


async def test_a_provider_of_another_name_is_refused(pretender: Pretender) -> None:
    provider = Provider(Client(pretender.url + "/", CLIENT, None, "x"))
    with pytest.raises(Unavailable, match="to the last sign"):
        await provider.discover()


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/live-calls/../x", "", "/",
     "/live-calls#x", "/live-calls?a=\r\nSet-Cookie:x", "/live-callsx", "javascript:x", "/login",
     "/live-calls?" + "a" * 2_000],
)  # fmt: skip
def test_a_login_returns_to_the_page_only(elsewhere: str) -> None:
    assert page_to_return_to(elsewhere) == "/live-calls"


def test_strangers_have_a_budget() -> None:
    now = 0.0
    budget = Budget(2, 5, lambda: now)
    assert [budget.take() for _ in range(7)] == [True] * 5 + [False] * 2
    now = 1.0
    assert [budget.take() for _ in range(3)] == [True, True, False]
    now = 1_000.0
    assert sum(budget.take() for _ in range(9)) == 5
