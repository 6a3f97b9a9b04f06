"""From where a request comes: the peer's address, or what a proxy that we trust says of its client.

``X-Forwarded-For`` is a list to which every proxy appends whom it heard. So it is read from its
right end, and only as far as the proxies are ours: what a client writes stands left of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]
SITE_BITS: Final = 64  # of an IPv6 address: the rest is one client's to choose (RFC 4291 §2.5.1)


def networks(text: str) -> Networks:
    """Addresses and blocks (``10.0.0.0/8``), separated by commas. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def client_of(peer: str, forwarded: Iterable[str], trusted: Networks) -> str | None:
    """Whom to count a request on, given all ``X-Forwarded-For`` headers in their order.

    None for our own machines: a proxy that we trust, and behind it nobody else. What is no address
    is nobody's word; then it is counted on the proxy that passed it on.
    """
    told = [part for header in forwarded for part in header.split(",")]
    last = None
    for text in (peer, *reversed(told)):
        address = _address(text)
        if address is None:
            return last
        last = _counted(address)
        if not any(address in network for network in trusted):
            return last
    return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
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
    return str(ip_network((int(address), SITE_BITS), strict=False))
