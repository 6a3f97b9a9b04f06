"""Notifies systemd that the service is ready, and that its event loop runs (sd_notify(3)).

The unit has ``Type=notify`` and ``WatchdogSec=``. The loop sends ``WATCHDOG=1`` three times in that
interval. If the loop is stuck, systemd restarts the service. Without systemd, nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

TIMES: Final = 3  # notifications per watchdog interval


class Systemd:
    """``environ`` is what systemd set: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL of Linux's abstract names.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._watchdog_seconds = 0.0
        watched = environ.get("WATCHDOG_USEC", "")
        if watched.isdigit() and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self._watchdog_seconds = int(watched) / 1e6

    def ready(self) -> None:
        """The service does its work."""
        self._tell(b"READY=1\nWATCHDOG=1")

    def stopping(self) -> None:
        """The service drains and ends."""
        self._tell(b"STOPPING=1")

    async def run(self) -> None:
        """Feed the watchdog until cancelled."""
        while self._watchdog_seconds:
            self._tell(b"WATCHDOG=1")
            await asyncio.sleep(self._watchdog_seconds / TIMES)

    def _tell(self, state: bytes) -> None:
        if not self._address:
            return
        # If systemd does not read, skip this one: the next follows soon.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.setblocking(False)
            to.sendto(state, self._address)
