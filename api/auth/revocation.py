"""The operator's list of revoked tokens and subjects, from a file.

If the file cannot be read, the last good list stays, and the failure is counted and logged once.
The service does not start without the configured file. A file rewritten in place is empty for a
moment, so a name leaves the list only if two reads in a row lack it.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final, NamedTuple

from api.auth import operator_file
from api.auth.operator_file import Mark
from livestate.state.access import Identity

log = logging.getLogger("livestate.revocations")

MAX_BYTES: Final = 8 * 1024 * 1024
_NOTHING: Final = frozenset[str]()


class RevocationsUnreadable(Exception):
    """Why the list cannot be read, for the operator."""


class Revocations:
    """Token ids (``jti``) and subjects (``sub``), one a line. ``version`` grows with each change,
    ``failures`` with each look that failed; ``trouble`` is the reason of the last one."""

    def __init__(self, path: str | None) -> None:
        self.version = 0
        self.failures = 0
        self.trouble: str | None = None
        self.names = _NOTHING
        self._path = Path(path) if path else None
        self._last: frozenset[str] | None = None  # the list as it was read last
        self._settled: Mark | None = None  # the file that two looks agreed on

    async def refresh(self) -> None:
        """Read the file, and use its list from now on. Raises :class:`RevocationsUnreadable`,
        and then the last good list stays."""
        if self._path is None:
            return
        try:
            # Not in the loop: a list may be long, and a network drive may hang.
            found = await asyncio.to_thread(
                _look, self._path, self._settled, self._last, self.names
            )
        except RevocationsUnreadable as error:
            self.failures += 1
            self._settled = None
            if str(error) != self.trouble:
                log.error(
                    "the list of revocations cannot be read; keeping the last good one "
                    "names=%d reason=%s",
                    len(self.names),
                    error,
                )
            self.trouble = str(error)
            raise
        if self.trouble is not None:
            log.info("the list of revocations can be read again")
            self.trouble = None
        if found is None:
            return
        self._settled, self._last, names, changed = found
        if changed:
            self.names = names
            self.version += 1

    def __contains__(self, identity: Identity) -> bool:
        return identity.subject in self.names or (identity.token_id or "") in self.names


class _Look(NamedTuple):
    settled: Mark | None
    last: frozenset[str]
    names: frozenset[str]  # that count
    changed: bool


def _look(
    path: Path,
    settled: Mark | None,
    last: frozenset[str] | None,
    names: frozenset[str],
) -> _Look | None:
    """What the file says; None if it is the one that is known as ``settled``."""
    try:
        mark = operator_file.mark_of(path)
        if mark == settled:
            return None
        raw = operator_file.read(path, MAX_BYTES)
    except OSError as error:
        raise RevocationsUnreadable(f"{path}: {error.strerror or error}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RevocationsUnreadable(f"{path} is not UTF-8 (byte {error.start})") from None
    if "\0" in text:  # as in UTF-16, every second byte
        raise RevocationsUnreadable(f"{path} is not UTF-8 text: it holds NUL bytes")
    if text.lstrip()[:1] in ("{", "[", "<"):
        raise RevocationsUnreadable(f"{path} is JSON or HTML, not one name a line")
    found = frozenset(name for line in text.splitlines() if (name := line.strip()))
    if not all(name.isprintable() for name in found):  # no token has such a name (api.auth.claims)
        raise RevocationsUnreadable(f"{path} has a line that is not a name alone, as text")
    agreed = found == last
    counting = found if agreed or last is None else found | names
    return _Look(mark if agreed else None, found, counting, counting != names)
