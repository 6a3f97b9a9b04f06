"""Verifies a request's login: a JWT (RFC 7519, RFC 8725) or a session, from header or cookie.

A token never causes a fetch from an address it names: keys come from the operator's JWKS, read in
the background. Without keys, no login is valid.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import jwt
from quart import Response
from werkzeug.sansio.request import Request

from api.auth import unverified
from api.auth.claim_paths import ClaimRules
from api.auth.claims import (
    LEEWAY_SECONDS,
    Unauthenticated,
    Unavailable,
    check_claims,
    check_header,
)
from api.auth.jwk import VerificationKey
from api.auth.keys import CHECK_SECONDS, KeySet
from api.auth.logout import Logouts, login_of
from api.auth.revocation import Revocations, RevocationsUnreadable
from api.auth.session_entry import is_session
from api.auth.sessions import Sessions
from api.http.headers import cookies
from api.http.problem import problem
from api.http.site import Site
from livestate.process.tasks import cancel_and_wait, keep_running
from livestate.state.access import Forbidden, Identity

MAX_TOKEN_CHARS: Final = 8_192


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
        rules: ClaimRules | None = None,
        sessions: Sessions | None = None,
        revocations: Revocations | None = None,
        logouts: Logouts | None = None,
        remembered: int = 10_000,
        site: Site | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self.revocations = revocations or Revocations(None)
        self.logouts = logouts if logouts is not None else Logouts(clock)
        self.site = site or Site()
        self._issuer = issuer
        self._audience = audience
        self._rules = rules or ClaimRules()
        self.sessions = sessions
        self._clock = clock
        self._remembered = remembered
        self._verified: OrderedDict[bytes, tuple[bytes, Identity]] = OrderedDict()
        self._refusals = unverified.Refusals()

    def now(self) -> float:
        """Seconds since the epoch, by the clock that tokens are held against."""
        return self._clock()

    def verify(self, token: str) -> Identity:
        """The identity a token proves. Raises :class:`~api.auth.claims.Unauthenticated`, or
        :class:`~livestate.state.access.Forbidden` for a good token without a good role."""
        if self.sessions is not None and is_session(token):
            of_session = self.sessions.identity(token)
            self.check(of_session)
            return of_session
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated("the token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        # Valid as long as the key that signed it is in the set: a change of other keys causes no
        # new verification.
        key, identity = self._verified.get(digest, (b"", None))
        if identity is None or key not in self.keys.fingerprints:
            self._refusals.check(digest, self.keys.version, self._clock())
            try:
                key, identity = self._verify(token)
            except Unauthenticated as refused:
                self._refusals.note(digest, self.keys.version, self._clock(), refused)
                raise
            self._verified[digest] = (key, identity)
            if len(self._verified) > self._remembered:
                self._verified.popitem(last=False)
        self.check(identity)
        return identity

    def token_of(self, request: Request) -> str:
        """The token a request carries: ``Authorization: Bearer``, else our cookie from our own
        pages or those of named origins. Never from the query string. Raises
        :class:`Unauthenticated`."""
        bearer = bearer_of(request)
        if bearer is not None:
            return bearer
        found = cookies(request.headers.getlist("Cookie"), self.site.login_cookie)
        if not found:
            raise Unauthenticated("log in first")
        if len(found) > 1:  # a browser keeps one of a name and path: another site set the second
            raise Unauthenticated("more than one login cookie: delete the cookies of this site")
        if foreign(request) and not self.site.names(request):
            raise Unauthenticated("a page of another site may not use this login")
        return found[0]

    def check(self, identity: Identity) -> None:
        """Whether an identity that was good still is. Raises
        :class:`~api.auth.claims.Unauthenticated`."""
        if self._clock() >= identity.expires_at:
            raise Unauthenticated("the token has expired")
        if identity in self.revocations:
            raise Unauthenticated("the token was revoked")
        if identity.login in self.logouts:
            raise Unauthenticated("this login was ended by logging out: get a new token")
        if identity.session and self.sessions is not None:
            self.sessions.check(identity)

    def log_out(self, token: str) -> None:
        """End the login that a token is, wherever it is in use; a bad token is none."""
        try:
            identity = self.verify(token)
        except (Unauthenticated, Forbidden, Unavailable):
            return
        self.logouts.end(identity.login, identity.expires_at)

    def still_good(self, login: str | Identity) -> bool:
        """Whether a token is still valid by the present keys, revocations and logouts. Only the
        last two are checked if the key that signed it is still there."""
        try:
            if isinstance(login, str):
                self.verify(login)
            else:
                self.check(login)
        except (Unauthenticated, Forbidden):
            return False
        except Unavailable:  # asked again with the next change
            return True
        return True

    def _verify(self, token: str) -> tuple[bytes, Identity]:
        said = unverified.read(token)
        header = said.header
        check_header(header)
        unverified.check(said, issuer=self._issuer, audience=self._audience, now=self._clock())
        key, claims = self._signed(token, header)
        unverified.check_names(token)
        check_claims(claims, self._clock())
        identity = self._rules.identity(claims)
        return key.fingerprint, replace(identity, login=login_of(token))

    def _signed(
        self, token: str, header: Mapping[str, Any]
    ) -> tuple[VerificationKey, dict[str, Any]]:
        """The key that signed a token, and its claims. Raises Unauthenticated, Unavailable."""
        failed = "InvalidSignatureError"
        for key in self.keys.find(header.get("kid"), header.get("alg")):
            try:
                return key, jwt.decode(
                    token,
                    key.key,
                    algorithms=[header["alg"]],
                    issuer=self._issuer,
                    audience=self._audience,
                    leeway=LEEWAY_SECONDS,
                    # Times and names are ours to check: with our clock, and strictly.
                    options={
                        "require": ["exp", "iss", "aud"],
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                        "verify_sub": False,
                        "verify_jti": False,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
                failed = type(error).__name__
                break
        raise Unauthenticated(f"the token is not valid: {failed}")


def bearer_of(request: Request) -> str | None:
    """The token of ``Authorization: Bearer`` (RFC 6750); None without one. Other schemes do not
    count: a browser repeats the Basic credentials of a proxy in every request to its host. Raises
    :class:`Unauthenticated`."""
    found = []
    for value in request.headers.getlist("Authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip())
    if len(found) > 1:
        raise Unauthenticated("more than one Bearer token")
    if found == [""]:
        raise Unauthenticated("the Authorization header has no Bearer token")
    return found[0] if found else None


def foreign(request: Request) -> bool:
    """Whether a browser says that another site's page makes this request.

    ``Sec-Fetch-Site`` decides where it is sent (Fetch Metadata): no script can set it, and no proxy
    changes it. Browsers leave it out over plain HTTP, and old ones always. Then ``Origin`` must
    name the host of the request, which is not so behind a proxy that passes on ``Host`` without
    the port."""
    site = request.headers.getlist("Sec-Fetch-Site")
    if site:
        return site not in (["same-origin"], ["none"])
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    return origin.partition("://")[2] != request.headers.get("Host")  # RFC 6454 §6.1: no path


def refusal(error: Unauthenticated | Forbidden) -> Response:
    """401 or 403, with the challenge of RFC 6750 §3."""
    if isinstance(error, Forbidden):
        challenge = 'Bearer error="insufficient_scope"'
        return problem(403, error.reason, {"WWW-Authenticate": challenge})
    return problem(401, error.reason, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


@contextlib.asynccontextmanager
async def kept_fresh(verifier: Verifier, on_change: Callable[[], Awaitable[None]]) -> Any:
    """Keys, revocations and logouts are re-read while inside; ``on_change`` runs after each look at
    the revocations."""

    async def revocations() -> None:
        while True:
            with contextlib.suppress(RevocationsUnreadable):  # they count and log themselves
                await verifier.revocations.refresh()
            await on_change()
            await asyncio.sleep(CHECK_SECONDS)

    runs = {"keys": verifier.keys.run, "revocations": revocations, "logouts": verifier.logouts.run}
    if verifier.sessions is not None:
        runs |= {"provider": verifier.sessions.provider.run, "sessions": verifier.sessions.run}
    tasks = [keep_running(name, run) for name, run in runs.items()]
    try:
        yield
    finally:
        await cancel_and_wait(*tasks)
