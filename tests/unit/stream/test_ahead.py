"""A client that has seen later versions than this process has waits until they are here."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from api.stream import ahead
from api.stream.admission import Admission
from api.stream.registry import StreamRegistry
from api.stream.sse import EventId
from livestate.state.access import Scope
from tests.calls import event
from tests.unit.stream.test_registry import Outlet, admission, registry


def answered(streams: StreamRegistry, number: int) -> None:
    hub: Any = streams.hub
    hub.table.apply(event("answered", number, dialog=f"{number}.1", call_id=f"c{number}"), number)


def coming_with(streams: StreamRegistry, more: int) -> Admission:
    """A client that is so many versions ahead."""
    view = streams.hub.view(Scope())
    return admission(1_000)._replace(position=EventId(view.tag, view.version + more))


@pytest.fixture
async def streams() -> StreamRegistry:
    made = registry(1_000)
    answered(made, 1)
    return made


async def test_a_client_of_now_begins_at_once(streams: StreamRegistry) -> None:
    assert streams.open(coming_with(streams, 0), Outlet(), b"head")
    assert streams.opened == {"resumed": 1}


async def test_it_resumes_when_its_version_is_here(streams: StreamRegistry) -> None:
    coming = coming_with(streams, 1)
    assert not streams.open(coming, Outlet(), b"head")
    pieces = streams.frames(coming)
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(2 * ahead.AGAIN_SECONDS)
    assert not waiting.done()
    answered(streams, 2)
    await waiting
    assert streams.opened == {"resumed": 1}
    await pieces.aclose()


async def test_a_version_that_never_comes_is_not_waited_for(streams: StreamRegistry) -> None:
    began = time.monotonic()
    pieces = streams.frames(coming_with(streams, 1_000_000))
    async with asyncio.timeout(10):
        await anext(pieces)
    assert time.monotonic() - began < ahead.WAIT_SECONDS + 1
    assert streams.opened == {"unknown_id": 1}
    await pieces.aclose()


async def test_a_position_of_another_numbering_is_not_waited_for(streams: StreamRegistry) -> None:
    coming = admission(1_000)._replace(position=EventId("0" * 16, 1_000_000))
    assert streams.open(coming, Outlet(), b"head")
