"""A file that an operator named, read again when it changes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from api.auth import operator_file
from api.auth.operator_file import Mark

LOOK_SECONDS: Final = 2.0


class WatchedFile:
    """``name`` is for the log, as in "the trunk file". If the file cannot be used, the last good
    one applies. A subclass says what a file means with :meth:`use`."""

    def __init__(self, path: str | None, *, name: str, max_bytes: int, log: logging.Logger) -> None:
        self.trouble: str | None = None  # why the file cannot be used
        self.configured = path is not None
        self._path = Path(path) if path else None
        self._name = name
        self._max_bytes = max_bytes
        self._log = log
        self._mark: Mark | None = None

    def use(self, raw: bytes) -> None:
        """Take the contents of a new file. Raises ValueError, with the reason, to refuse all."""
        raise NotImplementedError

    async def run(self) -> None:
        """Look at the file until cancelled."""
        while self._path is not None:
            await self.refresh()
            await asyncio.sleep(LOOK_SECONDS)

    async def refresh(self) -> None:
        """Read the file if it has changed. Logs what is wrong, once."""
        if self._path is None:
            return
        try:
            # Not in the loop: a network drive may hang.
            mark = await asyncio.to_thread(operator_file.mark_of, self._path)
            if mark == self._mark and self.trouble is None:
                return
            raw = await asyncio.to_thread(operator_file.read, self._path, self._max_bytes)
            self.use(raw)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if reason != self.trouble:
                self._log.error(
                    "%s cannot be read; keeping the last good one: reason=%s", self._name, reason
                )
            self.trouble = reason
            return
        self._mark, self.trouble = mark, None
