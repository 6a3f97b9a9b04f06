"""Reads caller and callee from the identities of a SIP message (RFC 3261 §19.1.1), within bounds.

The translation calls these functions. A caller chooses these texts, so whatever they hold, they
neither hide a call nor spoil the list of their node. Pure.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final
from urllib.parse import unquote

from livestate.bridge.kamailio.variables import NULL, text
from livestate.contract.encoding import cut_encoded
from livestate.contract.events import MAX_CALL_ID_CHARS, MAX_NAME_CHARS
from livestate.contract.messages import Message
from livestate.contract.sip_address import bare, split, userinfo, without_password
from livestate.contract.validation import MAX_DISPLAY_CHARS, without_surrogates

# Bytes as JSON, which writes a control character as six bytes. With these bounds an event without
# its display texts fits into every message.
MAX_CALL_ID_BYTES: Final = MAX_CALL_ID_CHARS
MAX_NAME_BYTES: Final = 4 * MAX_NAME_CHARS
UNREADABLE: Final = "\ufffd"  # stands for bytes that are not UTF-8


# A Call-ID that is too long becomes its beginning and a digest, so that two of them stay different.
# One that is not UTF-8 is missing in events (Kamailio leaves it out) and arrives as raw bytes in
# lists; both become a name made of the dialog, so that event and list mean one call.
def call_id(value: object, dialog: str) -> str:
    """A Call-ID as the contract allows it, the same in events and in lists."""
    found = str(value)
    if not found or UNREADABLE in without_surrogates(found):
        return f"unreadable-{dialog}"
    if len(found) <= MAX_CALL_ID_CHARS and cut_encoded(found, MAX_CALL_ID_BYTES) == found:
        return found
    digest = sha256(found.encode()).hexdigest()
    begin = found[: MAX_CALL_ID_CHARS - len(digest) - 1]
    return f"{cut_encoded(begin, MAX_CALL_ID_BYTES - len(digest) - 1)}~{digest}"


def is_name(value: object) -> bool:
    """Whether this is a valid name of a company or trunk. One that is too long is invalid rather
    than cut: a configuration may take it from a header that the caller chooses, and a cut name
    could
    be another company's. Also invalid: not UTF-8, or made of an unset variable."""
    name = text(value)
    if name is None or NULL in name or UNREADABLE in without_surrogates(name):
        return False
    return len(name) <= MAX_NAME_CHARS and cut_encoded(name, MAX_NAME_BYTES) == name


def parties(from_uri: object, dialled: object, to_uri: object) -> Message:
    """``from`` and ``to`` for display, at most 256 characters each; absent where unknown.

    ``dialled`` is the user part of the Request-URI, or all of it where it has no user. It is
    preferred to To, which may hold anything (RFC 3261 §8.1.1.2). A host alone comes last.
    """
    callee = readable(dialled) or readable(to_uri) or host(dialled) or host(to_uri)
    found = {"from": readable(from_uri) or host(from_uri), "to": callee}
    return {name: shown[:MAX_DISPLAY_CHARS] for name, shown in found.items() if shown}


def readable(address: object) -> str | None:
    """The user of a ``sip:`` URI, the number of a ``tel:`` URI without its parameters (RFC 3966),
    or a whole ``urn:``. None for a host alone.

    ``address`` is a URI, the value of a header with a URI in it, or a user part alone.
    """
    scheme, rest = split(without_password(text(address) or ""))
    if not rest:
        return None
    if scheme == "urn":  # RFC 5031: urn:service:sos
        return _decoded(bare(text(address) or ""))
    if scheme == "tel":
        return _decoded(rest.partition(";")[0])
    if scheme not in ("sip", "sips", ""):
        return _decoded(rest)
    user = userinfo(rest)
    if user is None and scheme == "":
        user = rest
    # Behind ";" are parameters of a number (rn, npdi, ext, isub), behind ":" is a password.
    return _decoded(user.partition(";")[0].partition(":")[0]) if user else None


def host(address: object) -> str | None:
    """The host of a ``sip:`` URI, without its port."""
    scheme, rest = split(text(address) or "")
    if scheme not in ("sip", "sips"):
        return None
    found = _HOST.match(rest[len(user) + 1 :] if (user := userinfo(rest)) is not None else rest)
    return found[0] if found else None


_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\s:;?@<>]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _decoded(escaped: str) -> str | None:
    """Percent-decoded; control characters stay escaped, because they cannot be displayed."""
    found = _CONTROL.sub(lambda sign: f"%{ord(sign[0]):02X}", unquote(escaped)).strip()
    return text(found)
