"""The alternatives to livestate, each as short as its own documentation shows it:

    python -m bench.peers.peer_servers sse-starlette|quart|websocket|polling PORT NATS_URL

Each takes finished frames from NATS and gives every client all of them. They know no state, no
scopes, no slow clients and no resuming: they do less than livestate for each delivery.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Final

import nats
import uvloop
from nats.aio.msg import Msg

SUBJECT: Final = "peers.frame"
BACKLOG: Final = 4096
Frames = asyncio.Queue[str]


class Everybody:
    """One queue a client: what every tutorial does."""

    def __init__(self) -> None:
        self.queues: set[Frames] = set()
        self.last = ""

    def tell(self, frame: str) -> None:
        self.last = frame
        for queue in self.queues:
            queue.put_nowait(frame)

    async def frames(self) -> AsyncIterator[str]:
        queue: Frames = asyncio.Queue()
        self.queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.queues.discard(queue)


async def listen(url: str, tell: Callable[[str], None]) -> None:
    client = await nats.connect(url)

    async def take(message: Msg) -> None:
        tell(message.data.decode())

    await client.subscribe(SUBJECT, cb=take)


async def sse_starlette(port: int, url: str) -> None:
    """sse-starlette on uvicorn with uvloop (its parser is h11)."""
    import uvicorn
    from sse_starlette import EventSourceResponse, ServerSentEvent
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Route

    everybody = Everybody()

    async def events() -> AsyncIterator[ServerSentEvent]:
        number = 0
        async for frame in everybody.frames():
            number += 1
            yield ServerSentEvent(data=frame, event="diff", id=f"e-{number}", sep="\n")

    async def stream(request: Request) -> EventSourceResponse:
        return EventSourceResponse(events(), sep="\n")

    await listen(url, everybody.tell)
    await _uvicorn(uvicorn, Starlette(routes=[Route("/", stream)]), port)


async def polling(port: int, url: str) -> None:
    """The newest state as JSON for who asks: Starlette on uvicorn with uvloop."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    everybody = Everybody()

    async def newest(request: Request) -> Response:
        return Response(everybody.last + "\n", media_type="application/json")

    await listen(url, everybody.tell)
    await _uvicorn(uvicorn, Starlette(routes=[Route("/", newest)]), port)


async def _uvicorn(uvicorn: object, app: object, port: int) -> None:
    config = uvicorn.Config(  # type: ignore[attr-defined]
        app,
        port=port,
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        lifespan="off",
        timeout_keep_alive=60,
    )
    await uvicorn.Server(config).serve()  # type: ignore[attr-defined]


async def quart(port: int, url: str) -> None:
    """A plain Quart generator on Hypercorn with uvloop."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from quart import Quart, Response

    app = Quart("peer")
    everybody = Everybody()

    @app.get("/")
    async def stream() -> Response:
        async def events() -> AsyncIterator[bytes]:
            number = 0
            async for frame in everybody.frames():
                number += 1
                yield f"event: diff\nid: e-{number}\ndata: {frame}\n\n".encode()

        response = Response(events(), content_type="text/event-stream")
        response.timeout = None
        return response

    await listen(url, everybody.tell)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.backlog = BACKLOG
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await serve(app, config, shutdown_trigger=ended.wait)


async def websocket(port: int, url: str) -> None:
    """``broadcast`` of the websockets package, without compression as its documentation advises
    for a fan-out."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    clients: set[ServerConnection] = set()

    async def stay(client: ServerConnection) -> None:
        clients.add(client)
        try:
            await client.wait_closed()
        finally:
            clients.discard(client)

    await listen(url, lambda frame: broadcast(clients, frame + "\n"))
    async with serve(stay, "127.0.0.1", port, backlog=BACKLOG, compression=None):
        await asyncio.get_running_loop().create_future()


RIVALS: Final = {
    "sse-starlette": sse_starlette,
    "polling": polling,
    "quart": quart,
    "websocket": websocket,
}

if __name__ == "__main__":
    _, which, at, nats_url = sys.argv
    uvloop.run(RIVALS[which](int(at), nats_url))
