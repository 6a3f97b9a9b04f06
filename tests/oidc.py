"""Real identity providers as child processes, and a browser that logs in at them.

The cookies are ``Secure``, and the tests speak plain HTTP on the loopback, where a real browser
sends them all the same; httpx does not, so the browser here keeps them itself.
"""

from __future__ import annotations

import asyncio
import http.cookies
import os
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx

from api.cli.child_service import Instance
from livestate.devtools.child_process import Server

SESSION_KEY = "a-secret-of-the-tests-0123456789abcdef"
COOKIE, PENDING = "__Host-livestate", "__Host-livestate-login"


class MockProvider(Server):
    """``oidc-provider-mock`` of PyPI: a provider whose users are invented by logging in."""

    name = "oidc-provider-mock"

    def __init__(self, token_seconds: int = 3600) -> None:
        root = Path(__file__).parent.parent
        super().__init__(sys.executable, environment=os.environ | {"PYTHONPATH": str(root)})
        self.token_seconds = token_seconds

    @property
    def url(self) -> str:
        """Another site than the service's 127.0.0.1, as providers are."""
        return f"http://localhost:{self.port}"

    def _command(self) -> list[str]:
        return ["-m", "tests.mock_provider", str(self.port), str(self.token_seconds)]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"{self.url}/.well-known/openid-configuration")
            except httpx.HTTPError:
                return False
        return answer.status_code == 200

    async def user(self, name: str, **claims: Any) -> None:
        """Claims of a user from now on."""
        async with httpx.AsyncClient() as client:
            (await client.put(f"{self.url}/users/{name}", json=claims)).raise_for_status()

    async def disable(self, name: str) -> None:
        async with httpx.AsyncClient() as client:
            (await client.post(f"{self.url}/users/{name}/revoke-tokens")).raise_for_status()

    def settings(self, public_url: str) -> dict[str, str]:
        return {
            "OIDC_ISSUER": self.url, "OIDC_CLIENT_ID": "livestate", "OIDC_CLIENT_SECRET": "secret",
            "PUBLIC_URL": public_url, "SESSION_KEY": SESSION_KEY,
        }  # fmt: skip


class CertifiedProvider(Server):
    """npm's ``oidc-provider``, certified by the OpenID Foundation (tests/interop/provider.mjs)."""

    name = "oidc-provider"

    def __init__(
        self, node: str, modules: Path, public_url: str, token_seconds: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(node, environment=environment)
        self._script = modules / "provider.mjs"
        self._public_url = public_url
        self._token_seconds = token_seconds

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def _command(self) -> list[str]:
        return [str(self._script), str(self.port), self._public_url, str(self._token_seconds)]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"{self.url}/.well-known/openid-configuration")
            except httpx.HTTPError:
                return False
        return answer.status_code == 200

    async def disable(self, name: str) -> None:
        async with httpx.AsyncClient() as client:
            (await client.put(f"{self.url}/disabled/{name}")).raise_for_status()

    def settings(self) -> dict[str, str]:
        return {
            "OIDC_ISSUER": self.url, "OIDC_CLIENT_ID": "livestate",
            "OIDC_CLIENT_SECRET": "secret-of-the-client", "PUBLIC_URL": self._public_url,
            "SESSION_KEY": SESSION_KEY,
        }  # fmt: skip


class _Form(HTMLParser):
    """The first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = attributes.get("action") or ""
        elif tag in ("input", "button") and attributes.get("name"):
            self.fields.setdefault(str(attributes["name"]), attributes.get("value") or "")


class Phone:
    """A person at the provider's own pages: fills in every form until the provider lets go."""

    def __init__(self, provider: str, user: str) -> None:
        self._provider = provider
        self._user = user
        self.client = httpx.AsyncClient(follow_redirects=False, timeout=20)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def follow(self, url: str) -> str:
        """Where the provider sends the person in the end; its own last page if nowhere."""
        answer = await self.client.get(url)
        for _ in range(30):
            url = str(answer.url)
            if "location" in answer.headers:
                url = urljoin(url, answer.headers["location"])
                if not url.startswith(self._provider):
                    return url
                answer = await self.client.get(url)
                continue
            form = _Form()
            form.feed(answer.text)
            if form.action is None:
                return url
            filled = form.fields | {"login": self._user, "password": "x"}
            filled = {k: v for k, v in filled.items() if k in form.fields and k != "abort"}
            answer = await self.client.post(urljoin(url, form.action), data=filled)
        raise AssertionError(f"the provider asks and asks: {url} {answer.text[:2000]}")


class Browser:
    """Follows redirects by hand, and keeps the cookies of one livestate."""

    def __init__(self, service: Instance) -> None:
        self.service = service
        self.cookies: dict[str, str] = {}
        self.client = httpx.AsyncClient(follow_redirects=False, timeout=20)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    @property
    def cookie(self) -> dict[str, str]:
        """The ``Cookie`` header of a request to livestate."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Cookie": cookies} if cookies else {}

    async def ask(self, method: str, url: str, **more: Any) -> httpx.Response:
        own = url.startswith("/") or urlsplit(url).port == self.service.port
        headers = {**(self.cookie if own else {}), **more.pop("headers", {})}
        url = urljoin(self.service.url, url)
        answer = await self.client.request(method, url, headers=headers, **more)
        if own:
            for line in answer.headers.get_list("set-cookie"):
                for name, morsel in http.cookies.SimpleCookie(line).items():
                    if morsel["max-age"] == "0" or not morsel.value:
                        self.cookies.pop(name, None)
                    else:
                        self.cookies[name] = morsel.value
        return answer

    async def get(self, url: str, **more: Any) -> httpx.Response:
        return await self.ask("GET", url, **more)

    async def go_to_provider(self, back_to: str = "/live-calls") -> str:
        """Where the provider asks for the user; tries again while it is not discovered."""
        async with asyncio.timeout(20):
            while True:
                answer = await self.get("/login", params={"next": back_to})
                if answer.status_code == 303:
                    return str(answer.headers["location"])
                assert answer.status_code == 503, answer
                await asyncio.sleep(0.1)

    async def log_in(self, subject: str, back_to: str = "/live-calls") -> httpx.Response:
        """At the mock. The answer to the way back."""
        where = await self.go_to_provider(back_to)
        answer = await self.ask("POST", where, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        return await self.get(answer.headers["location"])

    async def who(self) -> httpx.Response:
        return await self.get("/api/v1/session")
