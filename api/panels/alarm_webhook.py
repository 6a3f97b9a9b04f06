"""Posts each change of an alarm to an address of the operator, signed and in order.

``LIVESTATE_ALARM_WEBHOOK`` names it. :meth:`Webhook.send` only appends to a bounded queue;
:meth:`Webhook.run` sends, one change at a time, so "cleared" never overtakes "raised". A receiver
that is away, answers 5xx, 408, 425 or 429 is tried again after 1 s, then twice as long up to a
minute, for an hour; any other refusal is final. Redirects are not followed: the address is the
operator's, and a receiver must not choose another one inside the network.

``Livestate-Signature: t=<seconds>,v1=<hex>`` is made as Stripe makes its own: HMAC-SHA256 with the
secret over ``<seconds>.<body>``. Each try has a time of its own, so a receiver can refuse old ones;
``Livestate-Delivery`` is the same for all tries, so it can ignore a second one.

What waits is in Redis too (:mod:`livestate.store.alarms`, written before it is sent): a restart, or
the instance that takes over, sends it with the same ``Livestate-Delivery``. So each change comes at
least once, and may come twice where the service was killed just after the receiver took it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
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
    """A change to send, since when it waits (seconds), and as it is stored."""

    since: float
    delivery: str
    stored: bytes

    @property
    def body(self) -> bytes:
        return self.stored.partition(b" ")[2]


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
        self._place = 0  # of the last change, in the order in which they are sent
        self._more = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def unsent(self) -> dict[str, bytes]:
        """Delivery → the change as it is stored, of all that wait."""
        return {one.delivery: one.stored for one in self._waiting}

    def deliveries(self, changes: Iterable[Change]) -> dict[str, bytes]:
        """The same of changes that are new, for :meth:`send`."""
        found: dict[str, bytes] = {}
        for change in changes:
            body = orjson.dumps({"event": change.what, "alarm": change.alarm.record()})
            self._place = max(self._place + 1, int(1000 * self._clock()))
            # With its place: a level that comes back with the same figures is another change.
            stored = b"%d %b" % (self._place, body)
            found[hashlib.sha256(stored).hexdigest()[:32]] = stored
        return found

    def send(self, deliveries: Mapping[str, bytes]) -> None:
        """Send these after those that wait. Returns at once."""
        self._wait_for((*self._waiting, *self._new(deliveries)))

    def send_first(self, deliveries: Mapping[str, bytes]) -> None:
        """Send these, of before a restart, ahead of those that wait."""
        self._wait_for((*self._new(deliveries), *self._waiting))

    def withdraw(self, deliveries: Container[str]) -> None:
        """Another instance sends these."""
        self._waiting = deque(one for one in self._waiting if one.delivery not in deliveries)

    def _new(self, deliveries: Mapping[str, bytes]) -> list[_Waiting]:
        known, now = self.unsent, self._steady()
        return [_Waiting(now, *one) for one in deliveries.items() if one[0] not in known]

    def _wait_for(self, waiting: Sequence[_Waiting]) -> None:
        self.dropped["full"] += max(0, len(waiting) - MOST)
        self._waiting = deque(waiting[-MOST:])
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
        # Older ones may stand before it by now.
        self._waiting = deque(other for other in self._waiting if other is not one)


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """The header's value; ``seconds`` since the epoch."""
    signed = hmac.new(secret, b"%d.%b" % (seconds, body), hashlib.sha256).hexdigest()
    return f"t={seconds},v1={signed}"
