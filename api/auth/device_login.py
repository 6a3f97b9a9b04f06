"""Logs a wall display in by a phone (RFC 8628, OAuth device authorization).

The wall shows a short code and an address. A user opens the address on a phone, logs in and enters
the code. Meanwhile the wall polls, as often as the provider allows. The device code is in the
wall's encrypted cookie; the server keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from api.auth.claims import Unavailable
from api.auth.login_flow import LOGIN_SECONDS, Pending, page_to_return_to
from api.auth.oidc import Provider
from api.auth.oidc_messages import ProviderRefused, Tokens

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
ENDPOINT: Final = "device_authorization_endpoint"
INTERVAL_SECONDS: Final = 5.0  # RFC 8628 §3.2, where the provider names none
SLOWER_SECONDS: Final = 5.0  # §3.5, slow_down


@dataclass(frozen=True, slots=True)
class Shown:
    """What the wall shows. ``complete``: the address with the code in it, for a link."""

    code: str
    address: str
    complete: str | None
    seconds: float
    interval: float

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "address": self.address,
            "complete": self.complete,
            "seconds": self.seconds,
            "interval": self.interval,
        }


class DeviceLogin:
    """Stateless: a login is in its :class:`~api.auth.login_flow.Pending`."""

    def __init__(self, provider: Provider, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._clock = clock

    @property
    def supported(self) -> bool:
        return self._provider.endpoint(ENDPOINT) is not None

    async def begin(self, back_to: str | None) -> tuple[Pending, Shown]:
        """Ask for a code. Raises Unavailable, ProviderRefused."""
        said = await self._provider.post(ENDPOINT, {"scope": self._provider.scopes})
        device, code, address = (
            said.get(name) for name in ("device_code", "user_code", "verification_uri")
        )
        if not (isinstance(device, str) and isinstance(code, str) and _is_web(address)):
            raise Unavailable("the provider's answer to a device has no code or no address")
        complete = said.get("verification_uri_complete")
        seconds = min(_number(said.get("expires_in"), LOGIN_SECONDS), LOGIN_SECONDS)
        interval = _number(said.get("interval"), INTERVAL_SECONDS)
        now = self._clock()
        pending = Pending(
            page_to_return_to(back_to),
            now + seconds,
            device_code=device,
            interval=interval,
            poll_at=now + interval,
        )
        shown = Shown(
            code, str(address), complete if _is_web(complete) else None, seconds, interval
        )
        return pending, shown

    async def poll(self, pending: Pending) -> Tokens | Pending:
        """The tokens after the user has confirmed, else the pending login. Raises ProviderRefused
        if it was denied or has expired, and the errors of
        :meth:`~api.auth.oidc.Provider.redeem`."""
        now = self._clock()
        if now < pending.poll_at - 0.5:  # the page asks too early: the provider would say slow_down
            return pending
        try:
            return await self._provider.tokens(
                {"grant_type": GRANT, "device_code": pending.device_code}, wants_id_token=True
            )
        except ProviderRefused as error:
            if error.error not in ("authorization_pending", "slow_down"):
                raise
            slower = SLOWER_SECONDS if error.error == "slow_down" else 0.0
            interval = pending.interval + slower
            return replace(pending, interval=interval, poll_at=now + interval)


def _is_web(address: object) -> bool:
    """A link that the page may show: a provider that was taken over could name ``javascript:``."""
    return isinstance(address, str) and urlsplit(address).scheme in ("http", "https")


def _number(value: object, otherwise: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        return otherwise
    return float(value)
