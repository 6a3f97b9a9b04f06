"""Publishes CDRs within the limits of server and stream; a refused one does not block others.

The bridge's CDR publisher and the writer of simulated nodes send every CDR through
:meth:`CdrLimits.publish`. The guarantee: a CDR that is refused, for its size or because the stream
takes others but not this one, waits alone and is tried again; all others are delivered.

The size limit is the lower of two: what the server takes (``max_payload``, which counts headers as
well, while nats-py compares the data only and the server then closes the connection), and the
stream's ``max_msg_size``, which its operator chose. A CDR that is too long is sent without its long
texts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import orjson
from nats.aio.client import Client
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from livestate.contract.encoding import Unsendable, encode
from livestate.contract.events import CDR_SUBJECT, MAX_MESSAGE_BYTES
from livestate.contract.messages import Outgoing
from livestate.nats.jetstream import STREAM, TOO_LONG
from livestate.nats.message_ids import MESSAGE_ID
from livestate.process.log_limit import LogLimit

log = logging.getLogger("livestate.bridge")

ACK_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0


class CdrLimits:
    """``max_bytes(client)`` is how many bytes the server takes on this connection."""

    def __init__(self, max_bytes: Callable[[Client], int]) -> None:
        self.refusals = 0
        self._max_bytes = max_bytes
        self._stream_bytes = MAX_MESSAGE_BYTES  # until the stream says less
        self._asked_at = -FIRST_PAUSE_SECONDS  # for max_msg_size, which its operator may change
        self._pauses: dict[str, tuple[float, float]] = {}  # message id → length and end of a pause
        self._log_limit = LogLimit()

    @property
    def waiting(self) -> int:
        """CDRs that were refused and wait for another try."""
        return len(self._pauses)

    def due(self, batch: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """The CDRs (message id, data) of a batch that may be sent now."""
        if not self._pauses:
            return batch
        now = asyncio.get_running_loop().time()
        return [cdr for cdr in batch if self._pauses.get(cdr[0], (0.0, now))[1] <= now]

    async def publish(
        self, client: Client, streams: JetStreamContext, name: str, data: bytes
    ) -> bool:
        """Publish one CDR under the message id ``name`` and await its acknowledgement.

        False if it was refused for its size: it waits for another try. Raises what else nats-py
        raises. Not ``publish_async``: that of nats-py 2.16 reports no refusal but a missing stream.
        """
        try:
            data = self._fit(client, name, data)
            headers = {MESSAGE_ID: name}
            await streams.publish(CDR_SUBJECT, data, timeout=ACK_SECONDS, headers=headers)
        except (Unsendable, MaxPayloadError, APIError) as error:
            await self._on_refused(streams, name, len(data), error)
            return False
        self._pauses.pop(name, None)
        return True

    # The stream takes or refuses the CDRs of a batch in their order. A stream that is full refuses
    # all behind the first refused one: that is an error of the stream, and the batch must wait. A
    # CDR that was refused although a later one was taken is refused for itself: it alone waits.
    def blocking_errors(
        self, batch: list[tuple[str, bytes]], results: list[bool | BaseException]
    ) -> list[BaseException]:
        """The errors of a batch that concern all CDRs. ``results``: for each CDR what ``publish``
        returned or raised. A CDR that alone was refused waits for another try."""
        errors = []
        last_taken = max((number for number, one in enumerate(results) if one is True), default=-1)
        for number, ((name, data), result) in enumerate(zip(batch, results, strict=True)):
            if isinstance(result, bool):
                continue
            refused = isinstance(result, APIError) and not isinstance(result, NotFoundError)
            if refused and (number < last_taken or name in self._pauses):
                self._pause(name, len(data), result)
            else:
                errors.append(result)
        return errors

    def _fit(self, client: Client, name: str, data: bytes) -> bytes:
        """The CDR, without its long texts if need be. Raises
        :class:`~livestate.contract.encoding.Unsendable`."""
        headers = len(f"NATS/1.0\r\n{MESSAGE_ID}: {name}\r\n\r\n")
        most = min(self._max_bytes(client), self._stream_bytes) - headers
        if len(data) <= most:
            return data
        return encode(Outgoing(CDR_SUBJECT, orjson.loads(data)), most)

    async def _on_refused(
        self, streams: JetStreamContext, name: str, size: int, error: Exception
    ) -> None:
        """Let a CDR wait that was refused for its size; raises ``error`` for another reason."""
        too_long = isinstance(error, APIError) and error.err_code == TOO_LONG
        if not (too_long or isinstance(error, MaxPayloadError | Unsendable)):
            raise error
        self._pause(name, size, error)
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= FIRST_PAUSE_SECONDS:  # once for all refused CDRs of a batch
            self._asked_at = now
            most = (await streams.stream_info(STREAM)).config.max_msg_size or 0
            self._stream_bytes = most if most > 0 else MAX_MESSAGE_BYTES

    def _pause(self, name: str, size: int, error: BaseException) -> None:
        """Wait before the next try: 1 s at first, then twice as long each time, up to a minute."""
        self.refusals += 1
        before = self._pauses.get(name, (FIRST_PAUSE_SECONDS / 2, 0.0))[0]
        pause = min(2 * before, LONGEST_PAUSE_SECONDS)
        now = asyncio.get_running_loop().time()
        self._pauses[name] = pause, now + pause
        unlogged = self._log_limit.allows(now)
        if unlogged is not None:
            log.warning(
                "a CDR is not taken, the others go on: id=%s bytes=%d reason=%s "
                "again_in_seconds=%.0f unlogged=%d",
                name,
                size,
                error,
                pause,
                unlogged,
            )
