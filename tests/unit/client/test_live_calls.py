"""The Python client library by the vectors of the JavaScript one, and on a real service."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.child_service import Instance
from livestate.client import LiveCalls, Refused
from tests.harness import STREAM, Node, bearer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "client.json").read_text())
URL = f"https://noc.example{STREAM}"
SILENCE_SECONDS = 0.3


class Body(httpx.AsyncByteStream):
    """A response's body in pieces of seven bytes, which then ends, breaks or says no more."""

    def __init__(self, text: str, then: str | None) -> None:
        self._bytes = text.encode()
        self._then = then

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._bytes), 7):
            yield self._bytes[at : at + 7]
        if self._then == "cut":
            raise httpx.ReadError("network error")
        if self._then != "end":
            await asyncio.Event().wait()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
async def test_the_client_does_what_its_vectors_say(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    readers: set[str] = set()
    waits: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        readers.add(request.url.params["reader"])
        response = vector["responses"][len(asked)]
        asked.append(request.headers.get("Last-Event-ID", ""))
        kind = response.get("type", "text/event-stream; charset=utf-8")
        body = Body(response["body"], response.get("then"))
        return httpx.Response(
            response.get("status", 200), headers={"Content-Type": kind}, stream=body
        )

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    states: list[str] = []
    left: dict[str, str] = {}
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    live = LiveCalls(URL, "token", client=client, silence_seconds=SILENCE_SECONDS, pause=pause)
    over = vector["responses"][-1].get("then") is None
    try:
        async with client, live, asyncio.timeout(10):
            async for update in live:
                if update.name == "state":
                    states.append(update.state)
                if update.change is not None:
                    for key in update.change.removed:
                        left[key] = update.change.ended.get(key, {}).get("outcome", "moved")
                if over and len(asked) == len(vector["responses"]) and states == vector["states"]:
                    break
    except Refused as refused:
        assert vector["responses"][-1]["status"] == refused.status
        assert "has expired" in refused.detail
    assert asked == vector["asked"]
    assert len(readers) == 1  # the service ends the stream before, if a proxy kept it
    assert states == vector["states"]
    assert live.calls == vector["calls"]
    assert live.fold.last_id == vector["id"]
    assert left == vector.get("left", {})
    for wait, least in zip(waits, vector.get("waited_ms", ()), strict=False):
        assert wait * 1000 >= least


async def test_it_shows_what_a_real_service_does(service: Instance, node: Node) -> None:
    company = node.name
    await node.call("1.1", "answered", company_id=company)
    tokens: list[str] = []

    async def token() -> str:
        tokens.append(service.token("user", company_id=company))
        return tokens[-1]

    ended = None
    async with LiveCalls(service.url + STREAM, token) as live, asyncio.timeout(20):
        async for update in live:
            if len(live.calls) == 1 and node.seq == 3:
                await node.say("ended", "1.1", company_id=company, outcome="answered", by="caller")
            if update.change is not None and update.change.ended:
                ended = update.change
                break
    assert ended is not None
    (key,) = ended.removed
    assert ended.removed[key]["state"] == "answered"
    assert ended.ended[key]["outcome"] == "answered"
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{service.url}{STREAM}/snapshot", headers=bearer(tokens[0]))
    assert answer.json()["calls"] == live.calls == {}


async def test_a_login_that_is_refused_ends_it(service: Instance) -> None:
    async with LiveCalls(service.url + STREAM, "no token") as live, asyncio.timeout(20):
        assert (await anext(aiter(live))).state == "signed out"
        with pytest.raises(Refused) as refused:
            await anext(aiter(live))
    assert refused.value.status == 401
    assert live.state == "signed out"


async def test_it_can_be_closed_while_it_reads(service: Instance) -> None:
    """Cancelled in the midst of a wait, it closes its response and connection."""
    async with httpx.AsyncClient() as client:

        async def read() -> None:
            live = LiveCalls(service.url + STREAM, service.token(), client=client)
            async with live:
                async for _ in live:
                    reading.set()

        reading = asyncio.Event()
        task = asyncio.create_task(read())
        async with asyncio.timeout(10):
            await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pool = client._transport._pool  # type: ignore[attr-defined]
        assert not pool.connections
