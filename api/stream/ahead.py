"""Clients that have seen later versions than this process has.

A client comes from an edge that was quicker: this one is busy, or stood still for a moment. A
stream that began now would take a snapshot of what was before, and the client would show calls
again that it has seen end. So it waits until this process has come as far, which takes some
hundredths of a second. Not for long: a client may claim any position.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Protocol

from api.stream.admission import Admission
from livestate.state.access import Scope
from livestate.state.view import View

WAIT_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 0.05


class Views(Protocol):
    """The hub."""

    def prepared(self, scope: Scope) -> bool: ...
    def view(self, scope: Scope) -> View: ...
    def release(self, view: View) -> None: ...


def is_ahead(hub: Views, admission: Admission) -> bool:
    """Whether the client is at a version of this numbering that is not here yet."""
    position, scope = admission.position, admission.scope
    if position is None or not hub.prepared(scope):
        return False
    view = hub.view(scope)
    ahead = position.tag == view.tag and position.version > view.version
    if ahead:
        hub.release(view)
    return ahead


async def catch_up(hub: Views, admission: Admission) -> bool:
    """Wait until this process is as far as the client, or for :data:`WAIT_SECONDS`; whether a
    stream may begin then."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while is_ahead(hub, admission):
                await asyncio.sleep(AGAIN_SECONDS)
    return hub.prepared(admission.scope)
