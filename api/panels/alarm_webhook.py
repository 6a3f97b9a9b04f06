"""Posts each change of an alarm to an address of the operator, signed and in order.

``LIVESTATE_ALARM_WEBHOOK`` names it. :meth:`Webhook.report` only appends to a bounded queue;
:meth:`Webhook.run` sends, one change at a time, so "cleared" never overtakes "raised". A receiver
that is away, answers 5xx, 408, 425 or 429 is tried again after 1 s, then twice as long up to a
minute, for an hour; any other refusal is final. Redirects are not followed: the address is the
operator's, and a receiver must not choose another one inside the network.

``Livestate-Signature: t=<seconds>,v1=<hex>`` is made as Stripe makes its own: HMAC-SHA256 with the
secret over ``<seconds>.<body>``. Each try has a time of its own, so a receiver can refuse old ones;
``Livestate-Delivery`` is the same for all tries, so it can ignore a second one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from livestate.state.alarms.board import Change

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("livestate.alarms")

MOST: Final = 1_000  # changes that wait; the oldest is dropped for a further one
TRY_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
GIVE_UP_SECONDS: Final = 3_600.0
_AGAIN: Final = frozenset({408, 425, 429})


class _Waiting(NamedTuple):
    """A change to send, and since when it waits (seconds)."""

    since: float
    delivery: str
    body: bytes


class Webhook:
    """``clock`` is in seconds since the epoch, for signatures; ``steady`` does not jump."""

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self.sent = 0
        self.failed_tries = 0
        self.dropped: Counter[str] = Counter({"full": 0, "late": 0, "refused": 0})
        self._url = url
        self._host = urlsplit(url).hostname  # for the log: the rest of an address may be a secret
        self._secret = secret.encode()
        self._clock = clock
        self._steady = steady
        self._sleep = sleep
        self._waiting: deque[_Waiting] = deque()
        self._more = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def report(self, changes: Iterable[Change]) -> None:
        """Take changes to send. Returns at once."""
        for change in changes:
            if len(self._waiting) >= MOST:
                self._waiting.popleft()
                self.dropped["full"] += 1
            body = orjson.dumps({"event": change.what, "alarm": change.alarm.record()})
            delivery = hashlib.sha256(body).hexdigest()[:32]
            self._waiting.append(_Waiting(self._steady(), delivery, body))
            self._more.set()

    async def run(self) -> None:
        """Send until cancelled."""
        import httpx  # only where there is a webhook

        async with httpx.AsyncClient(timeout=TRY_SECONDS, follow_redirects=False) as client:
            while True:
                while not self._waiting:
                    self._more.clear()
                    await self._more.wait()
                await self._deliver(client, self._waiting[0])

    async def _deliver(self, client: httpx.AsyncClient, one: _Waiting) -> None:
        """Try until it is sent, refused, too late, or pushed out of the queue."""
        pause, logged = FIRST_PAUSE_SECONDS, False
        while self._waiting and self._waiting[0] is one:
            if self._steady() - one.since > GIVE_UP_SECONDS:
                self._drop(one, "late", "it was not taken for an hour")
                return
            status, trouble = await self._try(client, one)
            if status is not None and 200 <= status < 300:
                self.sent += 1
                self._done(one)
                return
            self.failed_tries += 1
            if status is not None and status < 500 and status not in _AGAIN:
                self._drop(one, "refused", trouble)
                return
            if not logged:
                log.warning(
                    "the alarm webhook is tried again: host=%s error=%s", self._host, trouble
                )
                logged = True
            await self._sleep(pause * random.uniform(0.8, 1.2))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _try(self, client: httpx.AsyncClient, one: _Waiting) -> tuple[int | None, str]:
        """The status of the answer, None where there is none; and what is wrong with it."""
        import httpx

        headers = {
            "Content-Type": "application/json",
            "User-Agent": "livestate",
            "Livestate-Delivery": one.delivery,
            "Livestate-Signature": signature(self._secret, int(self._clock()), one.body),
        }
        try:
            # A receiver that sends its answer byte by byte meets no timeout of httpx, and one that
            # sends gigabytes is not read.
            async with asyncio.timeout(TRY_SECONDS):
                request = client.stream("POST", self._url, content=one.body, headers=headers)
                async with request as answer:
                    return answer.status_code, f"it answered {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            return None, type(error).__name__

    def _drop(self, one: _Waiting, reason: str, trouble: str) -> None:
        self.dropped[reason] += 1
        log.error("an alarm is not sent to the webhook: host=%s reason=%s", self._host, trouble)
        self._done(one)

    def _done(self, one: _Waiting) -> None:
        if self._waiting and self._waiting[0] is one:
            self._waiting.popleft()


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """The header's value; ``seconds`` since the epoch."""
    signed = hmac.new(secret, b"%d.%b" % (seconds, body), hashlib.sha256).hexdigest()
    return f"t={seconds},v1={signed}"
