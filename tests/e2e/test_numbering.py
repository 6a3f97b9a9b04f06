"""The numbers of a real Kamailio, past the end of its 32 bits: each once, none left out."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import orjson
import pytest

from livestate.bridge.kamailio.netstring import Decoder
from livestate.contract.node_name import node_name_problem
from tests.e2e.lab import Kamailio, rpc

pytestmark = pytest.mark.timeout(120)
EPOCH_NUMBERS = 2**30
HAMMER = Path(__file__).parent / "hammer.cfg"


class Hammer(Kamailio):
    """Four processes that take 90 numbers a second each."""

    def _command(self) -> list[str]:
        variables = {"LAB_LISTEN": f"udp:127.0.0.1:{self.sip_port}",
                "LIVESTATE_EVAPI": f'"127.0.0.1:{self.port}"'}  # fmt: skip
        defines = [word for name, value in variables.items() for word in ("-A", f"{name}={value}")]
        return ["-f", str(HAMMER), "-DD", "-E", "-m", "64", "-Y", str(self.data), *defines]


class Frames:
    """All that Kamailio says over evapi."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []

    async def read(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        decoder = Decoder()
        try:
            while piece := await reader.read(65536):
                for raw in decoder.feed(piece):
                    frame = orjson.loads(raw)
                    if frame.get("ev") == "heartbeat":
                        self.beats.append(frame)
                    elif "seq" in frame:
                        self.events.append(frame)
        finally:
            writer.close()


@pytest.mark.parametrize("boundary", [1, 2, 3, 4])
async def test_past_each_boundary_of_its_counter_every_number_comes_once(boundary: int) -> None:
    """``boundary``: after so many times 2^30 events; 2 is where 32 bits turn negative, 4 where they
    begin anew."""
    async with Hammer() as kamailio:
        port = kamailio.port
        frames = Frames()
        reading = asyncio.create_task(frames.read(port))
        while len(frames.events) < 50:
            await asyncio.sleep(0.1)
        first = frames.events[0]["epoch"]
        for quarter in range(1, boundary + 1):  # as it would get there: through each of them
            number = quarter * EPOCH_NUMBERS - 300
            signed = (number + 2**31) % 2**32 - 2**31
            await rpc(port, "htable.seti", "livestate", "seq", signed)  # type: ignore[arg-type]
            since = len(frames.events)
            while len(frames.events) < since + 1_500:
                await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

        def place(frame: dict[str, Any]) -> int:
            return (frame["epoch"] - first) * EPOCH_NUMBERS + frame["seq"]

        for frame in frames.events + frames.beats:
            assert 0 <= frame["seq"] < EPOCH_NUMBERS
        places = [place(frame) for frame in frames.events]
        assert len(set(places)) == len(places), "a number came twice"
        # The last ones may be under way still, and overtake each other by a few.
        last = max(places) - 20
        after = sorted(p for p in places if boundary * EPOCH_NUMBERS - 200 <= p <= last)
        assert after[0] < boundary * EPOCH_NUMBERS < after[-1], "it was not passed"
        assert after == list(range(after[0], after[-1] + 1)), "a number was left out"
        assert {frame["epoch"] for frame in frames.events[-100:]} == {first + boundary}
        assert all(place(beat) <= max(places) for beat in frames.beats)


async def test_without_a_name_of_its_own_a_node_has_that_of_its_host() -> None:
    async with Hammer() as kamailio:
        frames = Frames()
        reading = asyncio.create_task(frames.read(kamailio.port))
        while not frames.events or not frames.beats:
            await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    named = {frame["node"] for frame in frames.events + frames.beats}
    assert len(named) == 1
    (name,) = named
    assert name.partition(".")[0] == socket.gethostname().partition(".")[0]
    assert node_name_problem(name) is None
