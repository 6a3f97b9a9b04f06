"""One login at the identity provider, kept in the browser until it is complete.

The routes of :mod:`api.auth.login_routes` call it. A login that is under way is an encrypted cookie
(state, nonce, PKCE verifier or device code, and the page to return to) and nothing on the server,
so a thousand logins begun by anybody take no memory. ``SameSite=Lax``: the browser comes back
from another site, and a Strict cookie would not come with it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from api.auth.claims import Unauthenticated
from api.auth.session_store import Cipher

LOGIN_SECONDS: Final = 900  # to log in at the provider, or to confirm a code on a phone
START: Final = "/live-calls"
_CONTEXT: Final = b"livestate login under way"
# Only the page with its filters: an open redirect would help phishing.
_NEXT: Final = re.compile(r"/live-calls(\?[A-Za-z0-9._~%&=+:@,;!$'()*/?-]{0,1500})?")


@dataclass(frozen=True, slots=True)
class Pending:
    """A login that is under way. ``device_code`` and ``interval``: of a wall (RFC 8628)."""

    next: str
    expires_at: float
    state: str = ""
    nonce: str = ""
    verifier: str = ""
    device_code: str = ""
    interval: float = 5.0
    poll_at: float = 0.0


class Budget:
    """Limits requests of unknown clients that cost a request to the provider or a search of all
    sessions: ``burst`` at once, then ``rate`` a second."""

    def __init__(self, rate: float, burst: float, steady: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._steady = steady
        self._left = burst
        self._at = steady()

    def take(self) -> bool:
        """Whether once more is within the budget."""
        now = self._steady()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class LoginFlow:
    """Seals logins into cookies and opens them again."""

    def __init__(self, cipher: Cipher, clock: Callable[[], float]) -> None:
        self._cipher = cipher
        self._clock = clock

    def begin(self, back_to: str | None) -> Pending:
        """A login by redirect, which returns to the page ``back_to``."""
        return Pending(
            page_to_return_to(back_to),
            self._clock() + LOGIN_SECONDS,
            secrets.token_urlsafe(24),
            secrets.token_urlsafe(24),
            secrets.token_urlsafe(48),
        )

    def sealed(self, pending: Pending) -> str:
        """The value of the cookie."""
        return self._cipher.encrypt(orjson.dumps(asdict(pending)), _CONTEXT).hex()

    def opened(self, cookie: str | None) -> Pending:
        """The login that a cookie holds. Raises Unauthenticated."""
        try:
            content = self._cipher.decrypt(bytes.fromhex(cookie or ""), _CONTEXT)
            pending = Pending(**orjson.loads(content or b""))
        except (ValueError, TypeError):
            raise Unauthenticated(
                "this browser began no login, or keeps no cookies for this address"
            ) from None
        if self._clock() >= pending.expires_at:
            raise Unauthenticated("this login took too long: begin again")
        return pending

    def returned(self, cookie: str | None, state: str | None) -> Pending:
        """The login that a browser comes back with. Raises Unauthenticated."""
        pending = self.opened(cookie)
        if not pending.state or not secrets.compare_digest(
            pending.state.encode(), (state or "").encode("utf-8", "replace")
        ):
            raise Unauthenticated("the provider's answer is of another login: begin again")
        return pending


def page_to_return_to(wanted: str | None) -> str:
    return wanted if wanted is not None and _NEXT.fullmatch(wanted) else START
