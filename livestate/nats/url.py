"""Parses addresses of NATS servers: ``nats://user:password@host:port``, separated by commas.

Each setting and option that names NATS is parsed here and printed through
:func:`livestate.process.masking.masked`.
``tls://`` demands TLS; with ``nats://`` the server decides. User and password are percent-decoded
(RFC 3986 §2.1), as nats.go does it: a password may hold ``,``, ``/`` or ``@``. A user without a
password is a token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote

DEFAULT_PORT: Final = 4222
SCHEMES: Final = ("nats", "tls")
RIGHT: Final = "nats://host:port or tls://host:port, several separated by commas"
RIGHT_INBOX: Final = (
    "tokens of letters, digits, - and _ with dots between, such as _INBOX.livestate"
)
_INBOX: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*", re.ASCII)
# A comma inside a password is no separator: the next URL begins with its scheme.
_COMMA: Final = re.compile(r"\s*,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_UNENCODED: Final = re.compile(r"[/?#,\\\s]")
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]")


@dataclass(frozen=True, slots=True)
class NatsUrl:
    """One server. ``host`` is without brackets; parts that the URL lacks are empty."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    tls_name: str = ""  # of the certificate, where it is not the host

    @property
    def address(self) -> str:
        """The URL without a login: for nats-py and for logs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(secret for secret in (self.password, self.token) if secret)


def parse(text: str) -> tuple[NatsUrl, ...]:
    """The servers that a setting names, in its order. A URL without a login uses the first one that
    another has: they are one cluster. Raises ValueError, which says what would be right and repeats
    nothing of ``text``: there may be a password in it."""
    urls = [_one(part) for part in _COMMA.split(text.strip())]
    login = next((url for url in urls if url.user or url.token), urls[0])
    return tuple(
        url
        if url.user or url.token
        else replace(url, user=login.user, password=login.password, token=login.token)
        for url in urls
    )


def _one(text: str) -> NatsUrl:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise ValueError(RIGHT)
    login, _, place = rest.rpartition("@")
    place = place.removesuffix("/")
    host, port = _place(place)
    if _UNENCODED.search(login):
        raise ValueError(f"{RIGHT}; user and password are percent-encoded")
    user, colon, password = (unquote(part) for part in login.partition(":"))
    if not colon:
        return NatsUrl(scheme.lower(), host, port, token=user)
    return NatsUrl(scheme.lower(), host, port, user=user, password=password)


def _place(text: str) -> tuple[str, int]:
    host, port = text, ""
    if not text.endswith("]") and ":" in text:
        host, _, port = text.rpartition(":")
    if not _HOST.fullmatch(host):
        raise ValueError(RIGHT)
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{RIGHT}; the port is a number from 1 to 65535")
    return host.strip("[]"), int(port or DEFAULT_PORT)


def is_inbox(text: str) -> bool:
    """Whether this is a valid prefix of reply subjects: no wildcards, no empty tokens."""
    return _INBOX.fullmatch(text) is not None
