"""Parses what nats-server sends, whatever bytes a publisher put into a message.

The session replaces nats-py's parser by this one. nats-server passes on subjects, replies and
headers that are no text (it checks them in pedantic mode only). nats-py 2.16 splits the line of a
message at each white space of Python (also a vertical tab in a subject), decodes subjects strictly,
and fails at headers ``NATS/1.0`` without a line end: each of these ends its read loop. So one
message of one client would disconnect all subscribers, and a stored one would do so each time it is
read.

nats-py parses the lines other than ``MSG`` and ``HMSG``, one at a time.

Messages of a subscription in ``handlers`` go from here to their handler. nats-py would make an
object of each, queue it, and wake a task: as much work as to validate an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD
from nats.protocol.parser import Parser as NatsParser

LONGEST_LINE: Final = 256 * 1024  # INFO has the addresses of a whole cluster
MOST_BYTES: Final = 64 * 1024**2  # the highest max_payload that nats-server accepts
HEADER_BYTES: Final = 4096  # of a publisher; the one that we read is a message id
_PLAIN: Final = b"NATS/1.0\r\n"
_OF_THE_SERVER: Final = (b"status", b"description")
MOST_PLACES: Final = 1_000  # remembered: subject and subscription of messages that came
# Called with subject and data; returns whether the event loop shall have a turn.
Handler: TypeAlias = Callable[[str, bytes], bool]
_OPERATIONS: Final = (b"MSG ", b"HMSG ", b"PING", b"PONG", b"INFO ", b"+OK", b"-ERR")


class Parser(NatsParser):
    """Raises ProtocolError for what nats-server never sends, as soon as it arrives."""

    def __init__(self, client: Any) -> None:
        self._others = NatsParser(client)
        self._place = (0, b"", b"", "")  # subscription, subject, reply, subject as text
        self._places: dict[bytes, tuple[int, bytes, bytes, str]] = {}  # by line without its size
        self.handlers: dict[int, Handler] = {}  # by id of the subscription
        super().__init__(client)

    def reset(self) -> None:
        super().reset()
        self._others.reset()

    async def parse(self, data: bytes = b"") -> None:
        received = self.buf
        received.extend(data)
        at = 0  # up to here it is parsed
        while at < len(received):
            if self.state == AWAITING_MSG_PAYLOAD:
                end = at + self.needed
                if len(received) < end + 2:
                    break
                ahead = at + self.header_needed
                headers = bytes(received[at:ahead]) if self.header_needed else None
                body = bytes(received[ahead:end])
                at = end + 2
                self.state = AWAITING_CONTROL_LINE
                sid, subject, reply, text = self._place
                handle = self.handlers.get(sid)
                if handle is None:
                    await self.nc._process_msg(sid, subject, reply, body, headers)
                elif handle(text, body):
                    await asyncio.sleep(0)
                continue
            end = received.find(b"\r\n", at)
            if end < 0:
                if len(received) - at > LONGEST_LINE or not _may_begin(received[at : at + 5]):
                    raise ProtocolError("no line of nats-server")
                break
            line = bytes(received[at:end])
            at = end + 2
            if line.startswith(b"MSG "):
                self._await_message(line)
            elif line.startswith(b"HMSG "):
                self._await_fields(line[5:].split(b" "), 1)
            else:
                await self._others.parse(line + b"\r\n")
                if self._others.buf:  # it waits for more: this is no line that it knows
                    raise ProtocolError("no line of nats-server")
        del received[:at]

    def _await_message(self, line: bytes) -> None:
        # Most messages differ from one that came before in their size only.
        place, _, size = line.rpartition(b" ")
        known = self._places.get(place)
        if known is None or not (size.isdigit() and len(size) < 8):  # larger: look closely
            fields = line[4:].split(b" ")
            self._await_fields(fields, 0)
            if len(fields) == 3 and len(self._places) < MOST_PLACES:  # no reply: those never repeat
                self._places[place] = self._place
            return
        self.needed = int(size)
        self.header_needed = 0
        self._place = known
        self.state = AWAITING_MSG_PAYLOAD

    def _await_fields(self, fields: list[bytes], has_headers: int) -> None:
        """``subject sid [reply] [bytes of headers] bytes``"""
        sizes = fields[-1 - has_headers :]
        without_reply = 3 + has_headers
        if not (
            len(fields) in (without_reply, without_reply + 1)
            and fields[0]
            and fields[1].isdigit()
            and all(size.isdigit() and len(size) < 10 for size in sizes)
        ):
            raise ProtocolError("malformed message")
        self.needed = int(sizes[-1])
        self.header_needed = int(sizes[0]) if has_headers else 0
        if not self.header_needed <= self.needed <= MOST_BYTES:
            raise ProtocolError("malformed message")
        reply = fields[2] if len(fields) > without_reply else b""
        subject = as_text(fields[0])
        self._place = int(fields[1]), subject, as_text(reply), subject.decode()
        self.state = AWAITING_MSG_PAYLOAD


def as_text(name: bytes) -> bytes:
    """A subject with U+FFFD for bytes that are not UTF-8."""
    return name if name.isascii() else name.decode("utf-8", "replace").encode()


def plain(headers: bytes | None) -> bytes | None:
    """The headers of a publisher; None if they are not as a client library writes them. A status
    (``NATS/1.0 503``, which nats-py keeps under the name ``Status``) may come from the server only:
    from a publisher it would end a fetch."""
    if headers is None or len(headers) > HEADER_BYTES or not headers.startswith(_PLAIN):
        return None
    lines = headers.split(b"\r\n")
    return b"\r\n".join(line for line in lines if _name(line) not in _OF_THE_SERVER)


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()


def _may_begin(received: bytearray) -> bool:
    begun = bytes(received)
    return any(begun.startswith(one) or one.startswith(begun) for one in _OPERATIONS)
