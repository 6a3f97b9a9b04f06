"""One session in the memory of an instance, and how a cookie names it. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from api.auth.session_store import Record
from livestate.state.access import Identity

PREFIX: Final = "ls_"  # no JWT begins like this: those begin with the base64 of "{"


def is_session(cookie: str) -> bool:
    return cookie.startswith(PREFIX)


@dataclass(slots=True)
class Entry:
    """A session in memory."""

    record: Record
    identity: Identity
    used_at: float
    refresh_at: float
    unsaved: bool = False
    away: bool = False  # the last refresh failed for a reason that passes


def digest_of(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()


def entry_identity(digest: bytes, record: Record) -> Identity:
    """It ends with the session, not with each token of it."""
    return Identity(
        record.subject,
        record.role,  # type: ignore[arg-type]
        record.company,
        record.ends_at,
        token_id=record.provider_session,
        login=digest,
        session=True,
    )
