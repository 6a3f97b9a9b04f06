"""The client's address: that of the peer, or what a trusted proxy reports.

``X-Forwarded-For`` is a list to which every proxy appends whom it heard. So it is read from its
right end, and only as far as the proxies are ours: what a client writes stands left of that.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from api.http.listener import socket_path

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]
MAX_HOPS: Final = 16  # proxies of ours between a client and us
SITE_BITS: Final = 64  # of an IPv6 address: the rest is one client's to choose (RFC 4291 §2.5.1)


def networks(text: str) -> Networks:
    """Addresses and blocks (``10.0.0.0/8``), separated by commas. Raises ValueError."""
    parts = [part.strip().strip("[]") for part in text.split(",")]
    return tuple(ip_network(part) for part in parts if part)


def client_of(peer: str, forwarded: Iterable[str], trusted: Networks) -> str | None:
    """Whom to count a request on, given all ``X-Forwarded-For`` headers in their order.

    None for our own machines: a proxy that we trust, with no other client behind. What is no
    address names no client; then it is counted on the proxy that passed it on. ``peer`` is empty
    on a unix socket: a program that may open that is a trusted proxy.

    ``Forwarded`` (RFC 7239) is not read: a proxy that adds only one of the two passes on what a
    client wrote into the other.
    """
    hops = [part for header in forwarded for part in header.rsplit(",", MAX_HOPS)][-MAX_HOPS:]
    last = None
    for text in (*([peer] if peer else []), *reversed(hops)):
        address = _address(text)
        if address is None:
            return last
        last = _counted(address)
        if not any(address in network for network in trusted):
            return last
    return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip(' \t"')
    if text.startswith("["):  # [2001:db8::1]:443, as some proxies write it
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _counted(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    if address.is_link_local:  # all of one network have the same first half
        return str(IPv6Address(int(address)))
    return str(ip_network((int(address), SITE_BITS), strict=False))


def on_loopback(bind: str) -> bool:
    """Whether only this machine reaches ``host:port``, or a unix socket. A name that cannot
    be resolved, or that has one address beyond, is not."""
    if socket_path(bind) is not None:
        return True
    host = bind.rpartition(":")[0].strip("[]")
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        addresses = [ip_address(str(one).partition("%")[0]) for one in found]
    except (OSError, UnicodeError, ValueError):
        return False
    return bool(addresses) and all(
        (getattr(one, "ipv4_mapped", None) or one).is_loopback for one in addresses
    )
