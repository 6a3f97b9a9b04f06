"""The Python fold and SSE parser, by the vectors that the page's fold is held against too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import async_playwright

from livestate.client import Dashboard, Parser, ServerEvent
from tests.test_page import FLAGS

VECTORS, STREAMS = (
    json.loads((Path(__file__).parent / "vectors" / name).read_text())
    for name in ("fold.json", "sse.json")
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_fold(vector: dict[str, Any]) -> None:
    dashboard = Dashboard()
    for name, data, *named in vector["frames"]:
        dashboard.fold(ServerEvent(name, orjson.dumps(data), *(named or [""])))
    assert dashboard.calls == vector["calls"]
    assert dashboard.digest == vector["digest"]
    assert dashboard.last_id == vector.get("id", "")


@pytest.mark.parametrize("piece", [1, 3, 1_000])
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream["name"])
def test_parse(stream: dict[str, Any], piece: int) -> None:
    parser, raw = Parser(), stream["bytes"].encode()
    found = [
        (event.name, event.data.decode(), event.id)
        for at in range(0, len(raw), piece) for event in parser.feed(raw[at : at + piece])
    ]  # fmt: skip
    assert found == [tuple(event) for event in stream["events"]]


async def test_a_browser_reads_the_same_events(program: Callable[[str], str]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        which = int((await reader.readuntil(b"\r\n\r\n")).split()[1][1:])
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n"
        )
        writer.write(STREAMS[which]["bytes"].encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        page = await browser.new_page()
        found = await page.evaluate(
            """([address, names, count]) => Promise.all([...Array(count).keys()].map((which) =>
                new Promise((done) => {
                    const source = new EventSource(`${address}/${which}`), events = [];
                    for (const name of names)
                        source.addEventListener(name, ({ type, data, lastEventId }) =>
                            events.push([type, data, lastEventId]));
                    source.onerror = () => { source.close(); done(events); };
                })))""",
            [
                f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
                sorted({event[0] for stream in STREAMS for event in stream["events"]}),
                len(STREAMS),
            ],
        )
        await browser.close()
    for stream, events in zip(STREAMS, found, strict=True):
        assert events == stream["events"], stream["name"]


@given(st.lists(st.integers(1, 40), max_size=20))
def test_events_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    raw = (
        b": comment\nretry: 17\n\nevent: a\nid: 1\ndata: x\ndata: y\n\nid: 2\n\nevent: b\r\n"
        b"data:z\r\n\r\ndata: last\n\nevent: unfinished\ndata: never"
    )
    parser = Parser()
    found = []
    at = 0
    for cut in cuts:
        found += parser.feed(raw[at : at + cut])
        at += cut
    found += parser.feed(raw[at:])
    assert found == [("a", b"x\ny", "1"), ("b", b"z", "2"), ("message", b"last", "2")]
    assert parser.retry == 17
