"""The sockets that listen, and the TCP options that their connections inherit."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import Final

BACKLOG: Final = 4096  # with Hypercorn's 100, 2,000 dashboards that come back wait 18 s
# libuv accepts one connection a round of the loop and handle. With one handle, clients that come
# back together overflow the backlog while others are served, and try again seconds later.
HANDLES: Final = 32
# The kernel's own bound for a peer that acknowledges nothing (RFC 5482). It is a blunt one: it also
# cuts a client that goes on reading, but little at a time, through a window smaller than a segment.
# So it is not for streams, which ``StreamRegistry.sweep`` watches, only for all other answers.
USER_TIMEOUT_MS: Final = 30_000
# What the kernel may hold of a stream. More would be old frames that a slow client reads minutes
# late, while we believe that it is up to date.
NOT_SENT_BYTES: Final = 32 * 1024
SEND_BUFFER_BYTES: Final = 128 * 1024
MAX_SOCKET_PATH_BYTES: Final = 107  # of sun_path, unix(7)
_UNIX: Final = "unix:"
_SOCKET_MODE: Final = 0o660  # the proxy's user is in the group


def socket_path(address: str) -> str | None:
    """The path of ``unix:/path``; None for any other address."""
    return address.removeprefix(_UNIX) if address.startswith(_UNIX) else None


def listen(address: str) -> socket.socket:
    """A socket that listens on ``host:port`` or ``unix:/path``, whose connections notice dead
    peers. Raises OSError.

    A host may be an IPv6 address in brackets, with a zone (``[fe80::1%eth0]:8080``, RFC 4007 §11)
    or a name; of a name's addresses IPv4 goes first. ``[::]`` also receives IPv4."""
    path = socket_path(address)
    if path is not None:
        return _listen_unix(path)
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, where = min(found, key=lambda one: one[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:  # whatever net.ipv6.bindv6only says
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    for name, value in (
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
        ("TCP_NOTSENT_LOWAT", NOT_SENT_BYTES),
        ("TCP_NODELAY", 1),
    ):
        option = getattr(socket, name, None)  # accepted connections inherit them (Linux)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
    listener.bind(where)
    listener.listen(BACKLOG)
    return listener


def _listen_unix(path: str) -> socket.socket:
    """Replaces a socket that a process left behind, and no other file. The rights are
    :data:`_SOCKET_MODE` from the first moment on."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "is no socket", path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(path) == 0:
                raise OSError(errno.EADDRINUSE, "another process listens on it", path)
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    mask = os.umask(0o777 & ~_SOCKET_MODE)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


def handles(listener: socket.socket) -> list[socket.socket]:
    """The listener as :data:`HANDLES` file descriptors of the same socket."""
    return [listener, *(listener.dup() for _ in range(HANDLES - 1))]


def set_user_timeout(line: socket.socket, milliseconds: int) -> None:
    """The kernel's bound for a peer that acknowledges nothing; 0: none. Where the system has no
    such option, and on a unix socket, nothing happens."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and line.family != socket.AF_UNIX:
        line.setsockopt(socket.IPPROTO_TCP, option, milliseconds)
