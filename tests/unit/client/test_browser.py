"""A browser's EventSource reads the same events as our parser, of the same vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from playwright.async_api import async_playwright

from tests.page.test_page import FLAGS
from tests.unit.client.test_fold import STREAMS


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
