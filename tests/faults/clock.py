"""The clock of one process, which a test may set: libfaketime reads its offset from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.conftest import absent


class Clock:
    """``environment`` is for the process. Its monotonic clock stays right, as when a clock is
    set."""

    def __init__(self, offset: Path) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        self._offset = offset
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library or absent("libfaketimeMT.so.1")),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_CACHE_DURATION": "1",  # seconds until the file is read again
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        """How far the clock is ahead of the right time."""
        self._offset.write_text(f"{seconds:+d}\n")
