"""Speaks with an OpenID Connect provider: discovery, the code flow, refresh, user info, logout.

:class:`~api.auth.sessions.Sessions` and the login routes call it. It guarantees that claims come
from the provider: an ID token's signature, issuer, audience, nonce and times are checked (OpenID
Connect Core §3.1.3.7), user info is asked over TLS and must name the same subject (§5.3.2).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import jwt
import orjson

from api.auth.claims import LEEWAY_SECONDS, Unauthenticated, Unavailable
from api.auth.keys import KeySet, trusted
from api.auth.oidc_messages import Client, ProviderRefused, Tokens
from livestate.process.masking import masked

log = logging.getLogger("livestate.oidc")

DISCOVERY: Final = "/.well-known/openid-configuration"
DISCOVER_SECONDS: Final = 3600.0
RETRY_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 10.0
MAX_BODY_BYTES: Final = 1024 * 1024
BACKCHANNEL_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_TOKEN_SECONDS: Final = 300  # how old one may be


# RFC 6749 §5.2, OpenID Connect Core §3.1.2.6: errors by which the provider refuses this user. Other
# errors mean that the client or the provider is at fault.
class Provider:
    """One provider. ``metadata`` is None until it was discovered; ``trouble`` says why."""

    def __init__(
        self,
        client: Client,
        *,
        ca_file: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        self.metadata: Mapping[str, Any] | None = None
        self.trouble: str | None = None
        self.keys = KeySet(None, ca_file=ca_file)
        self._ca_file = ca_file
        self._clock = clock

    @property
    def readable(self) -> bool:
        """Whether its metadata and keys were read, the last time too."""
        return (
            self.metadata is not None
            and bool(self.keys.keys)
            and self.trouble is None
            and self.keys.trouble is None
        )

    async def run(self) -> None:
        """Keep metadata and keys fresh, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._discover())
            tasks.create_task(self.keys.run())

    async def _discover(self) -> None:
        while True:
            try:
                await self.discover()
                self.trouble = None
            except (Unavailable, ProviderRefused) as error:
                reason = masked(str(error))
                if reason != self.trouble:
                    log.error("the identity provider cannot be discovered: %s", reason)
                self.trouble = reason
            await asyncio.sleep(DISCOVER_SECONDS if self.metadata is not None else RETRY_SECONDS)

    async def discover(self) -> None:
        """Read the metadata (OpenID Connect Discovery §4). Raises Unavailable, ProviderRefused."""
        found = await self._ask("GET", self.client.issuer.rstrip("/") + DISCOVERY)
        if found.get("issuer") != self.client.issuer:
            raise Unavailable(
                f"LIVESTATE_OIDC_ISSUER is {self.client.issuer!r}, but the provider says it is "
                f"{str(found.get('issuer'))[:200]!r}: they must be the same, to the last sign"
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if urlsplit(str(found.get(name))).scheme not in ("http", "https"):
                raise Unavailable(f"the provider's metadata has no address {name}")
        self.keys.source = found["jwks_uri"]
        with contextlib.suppress(OSError, ValueError):  # its run() tries again, and counts
            await self.keys.refresh()
        self.metadata = found

    def endpoint(self, name: str) -> str | None:
        """An address of the metadata; None where the provider has none."""
        found = (self.metadata or {}).get(name)
        return found if isinstance(found, str) and found else None

    @property
    def scopes(self) -> str:
        """Those we want, without ``offline_access`` where the provider does not know it."""
        supported = (self.metadata or {}).get("scopes_supported")
        wanted = self.client.scopes.split()
        if isinstance(supported, list):
            wanted = [one for one in wanted if one != "offline_access" or one in supported]
        return " ".join(wanted)

    def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser logs in (RFC 6749 §4.1.1, RFC 7636 §4.3). Raises Unavailable."""
        address = self.endpoint("authorization_endpoint")
        if address is None:
            raise Unavailable(f"the identity provider cannot be reached: {self.trouble}")
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uri,
            "scope": self.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        if "offline_access" in self.scopes.split():
            asked["prompt"] = "consent"  # OpenID Connect Core §11: ignored without it
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"

    async def redeem(self, code: str, *, nonce: str, verifier: str) -> Tokens:
        """Tokens for a code. Raises Unavailable, ProviderRefused, Unauthenticated."""
        return await self.tokens(
            {
                "grant_type": "authorization_code",
                "code": code,
                "code_verifier": verifier,
                "redirect_uri": self.client.redirect_uri,
            },
            nonce=nonce,
            wants_id_token=True,
        )

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens (RFC 6749 §6). Raises like :meth:`redeem`."""
        return await self.tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def tokens(
        self, form: dict[str, str], *, nonce: str | None = None, wants_id_token: bool = False
    ) -> Tokens:
        """One request to the token endpoint. Raises like :meth:`redeem`."""
        said = await self.post("token_endpoint", form)
        access, id_token = said.get("access_token"), said.get("id_token")
        if not isinstance(access, str):
            raise Unavailable("the provider's answer has no access token")
        claims: dict[str, Any] = dict(self._claims_of_access(access))
        expires_at = self._clock() + _seconds(said.get("expires_in"))
        if isinstance(id_token, str):
            of_id = self._verified(id_token, audience=self.client.client_id)
            if nonce is not None and of_id.get("nonce") != nonce:
                raise Unauthenticated("the ID token is of another login (nonce)")
            if of_id.get("azp", self.client.client_id) != self.client.client_id:
                raise Unauthenticated("the ID token is of another client (azp)")
            claims |= of_id
            if said.get("expires_in") is None:
                expires_at = float(of_id["exp"])
        elif wants_id_token:
            raise Unavailable(
                "the provider's answer has no ID token: is 'openid' among the scopes?"
            )
        refresh = said.get("refresh_token")
        return Tokens(
            claims,
            access,
            refresh if isinstance(refresh, str) else None,
            id_token if isinstance(id_token, str) else None,
            expires_at,
        )

    async def user_info(self, access_token: str, subject: str) -> Mapping[str, Any]:
        """What the provider says of a user (OpenID Connect Core §5.3). Raises like redeem."""
        address = self.endpoint("userinfo_endpoint")
        if address is None:
            return {}
        said = await self._ask("GET", address, {"Authorization": f"Bearer {access_token}"})
        if said.get("sub") != subject:
            raise Unauthenticated("the provider's user info is of another user")
        return said

    def logout_token(self, token: str) -> Mapping[str, Any]:
        """The claims of a back-channel logout (OpenID Connect Back-Channel Logout §2.6). Raises
        Unauthenticated, Unavailable."""
        claims = self._verified(token, audience=self.client.client_id, expires=False)
        events = claims.get("events")
        if not isinstance(events, dict) or BACKCHANNEL_EVENT not in events:
            raise Unauthenticated("this is no logout token")
        if "nonce" in claims:
            raise Unauthenticated("a logout token has no nonce")
        issued = claims.get("iat")
        if not isinstance(issued, int | float) or not (
            -LEEWAY_SECONDS <= self._clock() - issued <= LOGOUT_TOKEN_SECONDS
        ):
            raise Unauthenticated("the logout token is not of now")
        if not isinstance(claims.get("sid"), str) and not isinstance(claims.get("sub"), str):
            raise Unauthenticated("the logout token names neither a session nor a user")
        return claims

    async def post(self, endpoint: str, form: dict[str, str]) -> Mapping[str, Any]:
        """One form to an endpoint of the provider, as our client. Raises Unavailable,
        ProviderRefused."""
        address = self.endpoint(endpoint)
        if address is None:
            raise Unavailable(f"the identity provider has no {endpoint}, or cannot be reached")
        headers = {"Accept": "application/json"}
        client = self.client
        if client.client_secret is None:
            form = {**form, "client_id": client.client_id}
        elif "client_secret_basic" in (
            (self.metadata or {}).get("token_endpoint_auth_methods_supported")
            or ["client_secret_basic"]
        ):  # RFC 6749 §2.3.1: both are form-encoded first
            pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form = {**form, "client_id": client.client_id, "client_secret": client.client_secret}
        return await self._ask("POST", address, headers, form)

    def _claims_of_access(self, token: str) -> Mapping[str, Any]:
        """Of an access token that is a JWT of this provider, as Keycloak's: roles may be in it. It
        came from the provider itself, so its audience does not matter. {} for any other."""
        if token.count(".") != 2:
            return {}
        try:
            return self._verified(token, audience=None)
        except (Unauthenticated, Unavailable):
            return {}

    def _verified(
        self, token: str, *, audience: str | None, expires: bool = True
    ) -> dict[str, Any]:
        """The claims of a token of this provider. Raises Unauthenticated, Unavailable."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthenticated("the provider's token is no JWT") from None
        reason = "the provider's token is not valid"
        for key in self.keys.find(header.get("kid"), header.get("alg")):
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.key,
                    algorithms=[header["alg"]],
                    issuer=self.client.issuer,
                    audience=audience,
                    leeway=LEEWAY_SECONDS,
                    options={
                        "require": ["iss", "exp"] if expires else ["iss"],
                        "verify_aud": audience is not None,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
                raise Unauthenticated(f"{reason}: {error}") from None
            return claims
        raise Unauthenticated(f"{reason}: InvalidSignatureError")

    async def _ask(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        import httpx  # only where logins are the provider's

        body = b""
        try:
            async with (
                httpx.AsyncClient(
                    timeout=TIMEOUT_SECONDS, verify=trusted(self._ca_file), trust_env=True
                ) as client,
                client.stream(method, address, headers=headers, data=form) as response,
            ):
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        raise Unavailable("the provider's answer is too large")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            where = urlsplit(address)
            reason = f"{where.scheme}://{where.netloc}: {type(error).__name__} {error}"
            raise Unavailable(masked(reason)) from error
        try:
            said = orjson.loads(body)
        except ValueError:
            said = None
        if response.status_code in (400, 401, 403) and isinstance(said, dict) and "error" in said:
            raise ProviderRefused(
                str(said["error"])[:100], str(said.get("error_description", ""))[:300]
            )
        if response.status_code != 200 or not isinstance(said, dict):
            raise Unavailable(
                f"{urlsplit(address).path} answered {response.status_code}, "
                "which is not what a provider says there"
            )
        return said


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _seconds(value: object) -> float:
    """``expires_in`` (RFC 6749 §5.1). Some providers write it as text."""
    try:
        return min(max(float(str(value)), 1.0), 366 * 86_400.0)
    except ValueError:
        return 300.0
