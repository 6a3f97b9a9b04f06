"""Takes addresses of SIP headers apart: scheme, user part, and the password, which is never shown.

The contract's models and the bridge call these. A caller chooses the texts, so nothing here raises,
whatever they hold. Pure.
"""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"(sips?|tel|urn|im|pres|mailto|https?|xmpp):", re.IGNORECASE)
_NAME_ADDR: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"\s*|[^"<]*)<([^>]*)>', re.DOTALL)
_PLAIN: Final = re.compile(r"sips?:[^:@]*@[^@]*\Z|[^@]*\Z")
_AFTER_HOST: Final = re.compile(r"[;?]")


def bare(address: str) -> str:
    """The URI of a name-addr or addr-spec (RFC 3261 §20.10), which a display name may precede."""
    text = address.strip()
    within = None if _SCHEME.match(text) else _NAME_ADDR.match(text)
    return (within[1] if within else text).strip()


def split(address: str) -> tuple[str, str]:
    """(scheme in lower case, the rest); the scheme is empty for a text without one."""
    uri = bare(address)
    found = _SCHEME.match(uri)
    return (found[1].lower(), uri[found.end() :]) if found else ("", uri)


def userinfo(rest: str) -> str | None:
    """The part before the ``@`` of a SIP URI; None if there is none. A second ``@`` is not legal,
    but is met in users (``alice@home@host``), parameters and headers of URIs."""
    first = rest.find("@")
    if first < 0:
        return None
    behind = _AFTER_HOST.search(rest, first)
    return rest[: behind.start() if behind else len(rest)].rpartition("@")[0]


def without_password(address: str) -> str:
    """The address without the password that a URI may carry (``user:password@host``, RFC 3261
    §19.1.1: "NOT RECOMMENDED", and yet met). Call it before a text is cut: without its ``@`` a
    password looks like a port."""
    if _PLAIN.match(address):
        return address  # nearly all addresses: no password, or no ``@``
    scheme, rest = split(address)
    user = userinfo(rest)
    if scheme in ("tel", "urn") or user is None or ":" not in user:
        return address
    safe = f"{user.partition(':')[0]}{rest[len(user) :]}"
    return address.replace(rest, safe)
