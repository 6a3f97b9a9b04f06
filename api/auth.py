"""Who is asking: a verified JWT (RFC 7519, by RFC 8725) from a header or our cookie, or nobody.

Nothing is ever fetched because of a token: keys come from the operator's JWKS only, read in the
background. Without keys nobody gets in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
from quart import Response
from werkzeug.sansio.request import Request

from api.keys import CHECK_SECONDS, KeySet, Revocations, Unauthenticated
from api.problem import problem
from livestate.access import Forbidden, Identity, identity_from_claims
from livestate.runtime.ending import end

COOKIE: Final = "__Host-livestate"
MAX_TOKEN_CHARS: Final = 8_192
LEEWAY_SECONDS: Final = 5


class Verifier:
    """Tokens to identities. Verified ones are remembered, so that a thousand dashboards that
    come back at once cost a thousand look-ups and not a thousand signatures: ``remembered`` must
    not be less than there may be streams, or each pushes out one that comes after it."""

    def __init__(
        self,
        keys: KeySet,
        *,
        issuer: str,
        audience: str,
        role_claim: str = "role",
        company_claim: str = "company_id",
        revocations: Revocations | None = None,
        remembered: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self.revocations = revocations or Revocations(None)
        self._issuer = issuer
        self._audience = audience
        self._role_claim = role_claim
        self._company_claim = company_claim
        self._clock = clock
        self._remembered = remembered
        self._verified: OrderedDict[bytes, tuple[int, Identity]] = OrderedDict()

    def now(self) -> float:
        """Seconds since the epoch, by the clock that tokens are held against."""
        return self._clock()

    def verify(self, token: str) -> Identity:
        """The identity a token proves. Raises :class:`Unauthenticated`, or
        :class:`~livestate.access.Forbidden` for a good token without a good role."""
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated("the token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        version, identity = self._verified.get(digest, (-1, None))
        if identity is None or version != self.keys.version:
            identity = self._verify(token)
            self._verified[digest] = (self.keys.version, identity)
            if len(self._verified) > self._remembered:
                self._verified.popitem(last=False)
        self.check(identity)
        return identity

    def check(self, identity: Identity) -> None:
        """Whether an identity that was good still is. Raises :class:`Unauthenticated`."""
        if self._clock() >= identity.expires_at:
            raise Unauthenticated("the token has expired")
        if identity in self.revocations:
            raise Unauthenticated("the token was revoked")

    def still_good(self, token: str) -> bool:
        """Whether this token would be let in now, by the keys and revocations of now."""
        try:
            self.verify(token)
        except (Unauthenticated, Forbidden):
            return False
        return True

    def _verify(self, token: str) -> Identity:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise Unauthenticated("not a JWT") from None
        # RFC 7515 §4.1.11: what is critical and not understood is refused; we understand nothing.
        # Keys that a token brings along (jwk, jku, x5u, x5c) are simply never looked at.
        if "crit" in header:
            raise Unauthenticated("the token has critical headers")
        if str(header.get("typ", "JWT")).lower() not in ("jwt", "at+jwt"):
            raise Unauthenticated("the token is of another type")
        kid = header.get("kid")
        if kid is not None and not (isinstance(kid, str) and len(kid) <= 256):
            raise Unauthenticated("no key of ours signed this token")
        key = self.keys.find(kid, header.get("alg"))
        try:
            claims: dict[str, Any] = jwt.decode(
                token, key.key, algorithms=[header["alg"]], issuer=self._issuer,
                audience=self._audience, leeway=LEEWAY_SECONDS,
                # exp and nbf are ours to check: with our clock, and as plain numbers.
                options={"require": ["exp", "iss", "aud"], "verify_exp": False,
                         "verify_nbf": False, "verify_iat": False},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated(f"the token is not valid: {type(error).__name__}") from None
        expires = _seconds(claims, "exp")
        if expires is None or self._clock() >= expires:
            raise Unauthenticated("the token has expired")
        begins = _seconds(claims, "nbf")
        if begins is not None and begins > self._clock() + LEEWAY_SECONDS:
            raise Unauthenticated("the token is not valid yet")
        # An OpenID Connect ID token says who logged in where, not what he may do here.
        if "nonce" in claims or "at_hash" in claims or "c_hash" in claims:
            raise Unauthenticated("an ID token is no access token")
        return identity_from_claims(
            claims, role_claim=self._role_claim, company_claim=self._company_claim
        )


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthenticated(f"the claim {name!r} is not a number")
    if not 0 <= value < 2**53:  # nor is it a NaN; as a float it may be too large
        raise Unauthenticated(f"the claim {name!r} is out of range")
    return float(value)


def token_of(request: Request) -> str:
    """The token a request carries: ``Authorization: Bearer`` (RFC 6750), else our cookie from our
    own pages. Never from the query string. Raises :class:`Unauthenticated`."""
    headers = request.headers.getlist("Authorization")
    if len(headers) > 1:
        raise Unauthenticated("more than one Authorization header")
    if headers:
        scheme, _, token = headers[0].partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("the Authorization header is not a Bearer token")
        return token.strip()
    token = request.cookies.get(COOKIE, "")
    if not token:
        raise Unauthenticated("log in first")
    if foreign(request):
        raise Unauthenticated("a page of another site may not use this login")
    return token


def foreign(request: Request) -> bool:
    """Whether a browser says that another site's page makes this request (Fetch Metadata; Origin
    where that is missing)."""
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    return origin.partition("://")[2] != request.headers.get("Host")  # RFC 6454 §6.1: no path


def refusal(error: Unauthenticated | Forbidden) -> Response:
    """401 or 403, with what RFC 6750 §3 wants to hear."""
    if isinstance(error, Forbidden):
        challenge = 'Bearer error="insufficient_scope"'
        return problem(403, error.reason, {"WWW-Authenticate": challenge})
    return problem(401, error.reason, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


@contextlib.asynccontextmanager
async def kept_fresh(verifier: Verifier, on_change: Callable[[], None]) -> Any:
    """Keys and revocations are re-read while inside; ``on_change`` runs after each look."""

    async def revocations() -> None:
        while True:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                verifier.revocations.refresh()
            on_change()
            await asyncio.sleep(CHECK_SECONDS)

    tasks = [asyncio.create_task(verifier.keys.run()), asyncio.create_task(revocations())]
    try:
        yield
    finally:
        await end(*tasks)
