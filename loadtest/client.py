"""A Locust user with a token, which connects and sends requests over its own socket.

Locust's ``iter_lines`` reads blocks of 1,024 bytes and would wait seconds for a small frame that
has already arrived.
"""

from __future__ import annotations

import itertools
import socket
import ssl
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

import orjson
from locust import User

from livestate.client.paths import STREAM_PATH
from livestate.state.access import Scope
from loadtest import wire
from loadtest.loader import loader
from loadtest.reader import READ_BYTES

STREAM: Final = STREAM_PATH
ANSWER_SECONDS: Final = 15.0
# Segment size for clients with a small receive buffer. The loopback's segments (64 KB) would not
# fit the window, and the kernel would treat a slow reader as dead.
SEGMENT_BYTES: Final = 1_460
_numbers = itertools.count()


class Client(User):
    """A scope, a token and the service's address."""

    abstract = True
    role: ClassVar[str] = "noc"

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = next(_numbers)
        self.token, self.company_id = loader.logins.of(self.role, self.number)
        self.scope, query = self.look()
        self.query = f"?{urlencode(query)}" if query else ""
        self.hosts = [urlsplit(host) for host in (self.host or environment.host).split(",")]
        self._connects = 0
        self._choose()

    def _choose(self) -> None:
        """Users are spread over all hosts, and each connection goes to the next one: a client may
        come back anywhere."""
        parts = self.hosts[(self.number + self._connects) % len(self.hosts)]
        self.address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        self.secure = parts.scheme == "https"
        self.netloc = parts.netloc

    def look(self) -> tuple[Scope, dict[str, str]]:
        """The scope, and the query parameters of its filters."""
        return Scope(), {}

    def connect(self, receive_buffer: int | None = None) -> Any:
        self._choose()
        self._connects += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        sock.settimeout(ANSWER_SECONDS)
        try:
            sock.connect(self.address)
            if self.secure:
                context = ssl.create_default_context()
                return context.wrap_socket(sock, server_hostname=self.address[0])
        except OSError:
            sock.close()
            raise
        return sock

    def tell(self, name: str, seconds: float, size: int = 0, error: Any = None) -> None:
        """Report one entry to Locust's own statistics."""
        self.environment.events.request.fire(
            request_type="SSE",
            name=name,
            response_time=seconds * 1000,
            response_length=size,
            exception=error,
            context={},
            url=STREAM,
        )

    def get(self, below: str) -> Any:
        """The JSON response, or None if it failed."""
        answer, body = wire.Answer(), bytearray()
        try:
            sock = self.connect()
            try:
                path = STREAM + below + self.query
                sock.sendall(wire.request(self.netloc, path, self.token))
                while not answer.over:
                    piece = sock.recv(READ_BYTES)
                    if not piece:
                        return None
                    body += answer.feed(piece)
            finally:
                sock.close()
        except (OSError, wire.BadAnswer):
            return None
        return orjson.loads(body) if answer.status == 200 else None
