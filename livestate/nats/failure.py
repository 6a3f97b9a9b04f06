"""Classifies why NATS refuses or loses a connection, for log, status, metrics and ``doctor``.

The cause is the text of a server's ``-ERR``, or an exception of nats-py or of the operating system.
:func:`trouble` assigns it to one of :data:`KINDS`, a bounded set (a metric label), keeps the text
for people without any secret, and adds what an operator can do.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from nats.errors import Error as NatsError

TEXT_CHARACTERS: Final = 300
# nats-server closes a connection with this text when a message is longer than the account may send;
# INFO has the limit of the server only.
PAYLOAD_VIOLATION: Final = "maximum payload violation"

# Texts of nats-server (server/errors.go and client.go of 2.15) in lower case, with the kind and
# what an operator can do. The first match counts.
_WORDS: Final = (
    ("authentication expired", "credentials_expired",
     "renew the credentials; they are read anew at each attempt"),
    ("credentials expired", "credentials_expired",
     "renew the credentials; they are read anew at each attempt"),
    ("authentication revoked", "credentials_revoked",
     "give this user new credentials, or take back the revocation"),
    ("authentication timeout", "authentication_timeout",
     "the server's authorization timeout passed; is the server or its auth callout overloaded?"),
    ("authorization", "authorization",
     "compare user and password, or the credentials file, with the server's configuration"),
    ("authentication", "authorization",
     "compare user and password, or the credentials file, with the server's configuration"),
    ("permissions violation", "permission",
     "allow what deploy/nats.conf allows this user"),
    ("maximum connections", "limit", "raise max_connections, or close other connections"),
    ("maximum account active connections", "limit", "raise the account's connection limit"),
    ("maximum subscriptions", "limit", "raise max_subscriptions"),
    ("maximum payload", "limit", "raise max_payload, or see what publishes such long messages"),
    ("tls required", "tls", "use a tls:// URL"),
    ("tls", "tls", "compare the tls block of the server with the URL and the certificate"),
    ("certificate", "tls", "set SSL_CERT_FILE to the CA, or use the name in the certificate"),
    ("stale connection", "silent", "look at the network; the server may be overloaded"),
    ("lame duck", "shutdown", "nothing: the server is being shut down"),
    ("shutdown", "shutdown", "nothing: the server is being shut down"),
    ("unexpected eof", "closed", "the server closed the connection; its log says why"),
)  # fmt: skip
KINDS: Final = (
    "authentication_timeout", "authorization", "closed", "credentials", "credentials_expired",
    "credentials_revoked", "limit", "other", "permission", "protocol", "shutdown", "silent", "tls",
    "unreachable", "unresolved",
)  # fmt: skip
_MENDS: Final = {
    "closed": "the server closed the connection; its log says why",
    "credentials": "write a credentials file of `nsc generate creds`, readable for this user",
    "other": "the server's log may say more",
    "protocol": "is this the client port of a nats-server?",
    "silent": "look at the network; the server may be overloaded or stopped",
    "unreachable": "start nats-server, or mend the URL",
    "unresolved": "mend the host name, or the resolver",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """``kind`` is one of :data:`KINDS`, ``text`` the cause, ``mend`` what an operator can do."""

    kind: str
    text: str
    mend: str = ""

    def __str__(self) -> str:
        return self.text


class CredentialsUnusable(NatsError):
    """The credentials file cannot be read, or has no user JWT or no seed."""


class TlsMissing(NatsError):
    """The URL demands TLS and the server does not offer it: nothing was sent."""


def trouble(cause: BaseException | str, secrets: Iterable[str] = ()) -> Trouble:
    """Classify a failure; ``secrets`` are replaced in its text."""
    text = cause if isinstance(cause, str) else _text(cause)
    for secret in secrets:
        text = text.replace(secret, "***")
    # The text of an unknown server is shown in terminals: no control characters, bounded length.
    text = "".join(sign if sign.isprintable() else "�" for sign in text)[:TEXT_CHARACTERS]
    kind, mend = _kind(cause, text.lower())
    return Trouble(kind, text, mend or _MENDS.get(kind, ""))


def _text(cause: BaseException) -> str:
    text = str(cause).removeprefix("nats: ").strip("'")
    return text or (
        "no answer in time" if isinstance(cause, TimeoutError) else type(cause).__name__
    )


def _kind(cause: BaseException | str, text: str) -> tuple[str, str]:
    if isinstance(cause, CredentialsUnusable):
        return "credentials", ""
    if isinstance(cause, TlsMissing):
        return "tls", "turn TLS on at the server, or use a nats:// URL"
    for words, kind, mend in _WORDS:
        if words in text:
            return kind, mend
    if isinstance(cause, socket.gaierror):
        return "unresolved", ""
    if isinstance(cause, ssl.SSLError):
        return "tls", "compare the tls block of the server with the URL and the certificate"
    if isinstance(cause, TimeoutError):
        return "silent", ""
    if isinstance(cause, EOFError | ConnectionResetError | BrokenPipeError):
        return "closed", ""
    if isinstance(cause, OSError):
        return "unreachable", ""
    if isinstance(cause, str):  # a text that the table does not have
        return "other", ""
    if isinstance(cause, NatsError) and "protocol" not in text and "info" not in text:
        return "other", ""
    return "protocol", ""
