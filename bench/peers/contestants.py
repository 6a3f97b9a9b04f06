"""Everybody who takes part: how its server starts, how one publishes to it, how a client asks.

A frame is the same for all: 400 bytes as SSE, of a call whose ``detail`` carries when it was
published.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar, Final, Self

import orjson
from nats.aio.client import Client

from api.cli.child_service import Instance
from bench.machine import SERVER_CORE, on_cores
from bench.peers.peer_servers import SUBJECT
from bench.receiver_messages import stamp
from livestate.devtools.child_process import Server
from livestate.devtools.servers import NatsServer, Valkey
from livestate.process.clock import now_ms

FRAME_BYTES: Final = 400
POLL_SECONDS: Final = 1.0
NCHAN: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian puts nginx


class Missing(Exception):
    """A peer that is not on this machine; its text says how to have it."""


def record(mark: bytes, size: int) -> bytes:
    """One line of JSON of ``size`` bytes, like a diff of one call."""
    head = b'{"as_of":%d,"calls":{"Zm9vYmFyYmF6cXV4":{"state":"held","detail":"%b' % (
        now_ms(),
        mark,
    )
    tail = b'","v":12345}}}'
    return head + b"." * (size - len(head) - len(tail)) + tail


class Contestant(ABC):
    """One server on the server's core, and how to talk with it."""

    name: ClassVar[str]
    poll_seconds: ClassVar[float] = 0.0
    wire: ClassVar[str] = "SSE"
    latency_rate: ClassVar[float | None] = None  # frames/s at which latency says something else

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.server: Server

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def run(self, server: Server) -> None:
        """Start a server on its core."""
        self.server = server
        with on_cores(SERVER_CORE):
            await self.stack.enter_async_context(server)

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def publish(self) -> bytes:
        """One frame to everybody; its stamp."""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port

    def requests(self, clients: int) -> list[bytes]:
        return [b"GET / HTTP/1.1\r\nHost: peers\r\nAccept: text/event-stream\r\n\r\n"] * clients


class Livestate(Contestant):
    """The service as it ships: NATS in, Redis behind, tokens checked."""

    name = "livestate"

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self.settings = settings
        self.seq = 0
        self.epoch = now_ms()
        self.pad = 0
        self.logins: list[bytes] = []

    async def start(self) -> None:
        nats = await self.stack.enter_async_context(NatsServer())
        redis = await self.stack.enter_async_context(Valkey())
        keys = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {"NATS_URL": nats.url, "REDIS_URL": redis.url, "READY_SECONDS": "1",
                    "STREAM_SECONDS": "86400", "MAX_STREAMS_PER_USER": "100000",
                    "MAX_STREAMS_PER_ADDRESS": "100000", "MAX_STREAMS": "100000"}  # fmt: skip
        self.instance = Instance(keys, settings | self.settings)
        await self.run(self.instance)
        await self.instance.until_ready()
        self.client = Client()
        await self.client.connect(nats.url)
        self.stack.push_async_callback(self.client.close)
        self._beating = asyncio.create_task(self._beat())
        self.stack.callback(self._beating.cancel)
        # A diff of one call whose detail and state change; what is around the detail is about
        # 130 bytes and its version.
        self.pad = FRAME_BYTES - 153 - 2

    async def publish(self) -> bytes:
        mark = stamp()
        await self.say("hold" if self.seq % 2 else "resume", 1, mark.decode() + "." * self.pad)
        return mark

    async def say(self, phase: str, call: int, detail: str = "") -> None:
        self.seq += 1
        event = self._envelope() | {
            "phase": phase,
            "call_id": f"c{call}@peers",
            "dialog": f"{call}.1",
            "company_id": "101",
            "detail": detail,
        }
        await self.client.publish(f"call.events.{phase}", orjson.dumps(event))
        await self.client.flush()

    def _envelope(self) -> dict[str, object]:
        return {"v": 1, "node": "peers", "epoch": self.epoch, "seq": self.seq, "ts": now_ms()}

    async def _beat(self) -> None:
        """A list when it starts, as a node sends it, and heartbeats."""
        listed = self._envelope() | {
            "phase": "sync",
            "sync_id": "1",
            "part": 1,
            "parts": 1,
            "calls": [],
        }
        await self.client.publish("call.events.sync", orjson.dumps(listed))
        while True:
            beat = self._envelope() | {"phase": "heartbeat", "dialogs": 1}
            await self.client.publish("call.events.heartbeat", orjson.dumps(beat))
            await asyncio.sleep(2)

    def requests(self, clients: int, extra: bytes = b"") -> list[bytes]:
        """Each client has a login of its own, and keeps it."""
        for n in range(len(self.logins), clients):
            self.logins.append(self.instance.token(subject=f"peer-{n}").encode())
        return [
            b"GET /api/v1/live/calls HTTP/1.1\r\nHost: peers\r\nAuthorization: Bearer %b\r\n%b\r\n"
            % (login, extra)
            for login in self.logins[:clients]
        ]


class Rival(Contestant):
    """A server of :mod:`bench.peers.peer_servers`."""

    around: ClassVar[int] = len("event: diff\nid: e-123\ndata: \n\n")

    async def start(self) -> None:
        nats = await self.stack.enter_async_context(NatsServer())
        await self.run(Program(self.name, nats.url))
        self.client = Client()
        await self.client.connect(nats.url)
        self.stack.push_async_callback(self.client.close)
        await self.publish()  # who polls has something to get

    async def publish(self) -> bytes:
        mark = stamp()
        await self.client.publish(SUBJECT, record(mark, FRAME_BYTES - self.around))
        await self.client.flush()
        return mark


class Program(Server):
    """One rival as a child process."""

    def __init__(self, name: str, nats_url: str) -> None:
        self.which = name
        self.nats_url = nats_url
        super().__init__(sys.executable)

    name = "rival"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        return ["-m", "bench.peers.peer_servers", self.which, str(self.port), self.nats_url]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        return True


class SseStarlette(Rival):
    """The first document's choice."""

    name = "sse-starlette"


class QuartGenerator(Rival):
    """Quart as its documentation has it."""

    name = "quart"


class WebSocket(Rival):
    """One message a frame."""

    name = "websocket"
    wire = "WebSocket"
    around = len("\n")

    def requests(self, clients: int) -> list[bytes]:
        key = base64.b64encode(b"0123456789abcdef")
        return [
            b"GET / HTTP/1.1\r\nHost: peers\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
        ] * clients


class Polling(Rival):
    """Each client asks every second for the newest."""

    name = "polling"
    wire = "REST"
    around = len("\n")
    poll_seconds = POLL_SECONDS
    latency_rate = 0.9  # it never sees most of ten frames a second: each change, rarely


class Nchan(Contestant):
    """nginx's C module: the yardstick. Published to by HTTP."""

    name = "nchan"

    async def start(self) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path=_SBIN)
        if program is None or not NCHAN.exists():
            raise Missing("Debian has it: apt-get install nginx-light libnginx-mod-nchan")
        await self.run(Nginx(program))
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        self.stack.callback(self.writer.close)

    async def publish(self) -> bytes:
        mark = stamp()
        # nchan adds "id: 1795479511:0" and "data: " itself.
        body = record(mark, FRAME_BYTES - len("id: 1795479511:0\ndata: \n\n"))
        self.writer.write(
            b"POST /publish HTTP/1.1\r\nHost: peers\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await self.reader.readexactly(int(fields[b"content-length"]))
        return mark


class Nginx(Server):
    """nginx with nchan, one worker."""

    name = "nginx"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        user = "user root;" if Path.home() == Path("/root") else ""  # its files are ours
        (self.data / "nginx.conf").write_text(f"""
            daemon off; worker_processes 1; pid {self.data}/pid; {user}
            error_log stderr warn;
            load_module {NCHAN};
            events {{ worker_connections 16000; }}
            http {{
                access_log off; tcp_nodelay on; keepalive_requests 1000000;
                client_body_temp_path {self.data}/body; proxy_temp_path {self.data}/proxy;
                fastcgi_temp_path {self.data}/fastcgi; uwsgi_temp_path {self.data}/uwsgi;
                scgi_temp_path {self.data}/scgi;
                nchan_shared_memory_size 256M;
                server {{
                    listen 127.0.0.1:{self.port} backlog=4096;
                    location = / {{
                        nchan_subscriber eventsource; nchan_channel_id peers;
                        nchan_subscriber_first_message newest;
                    }}
                    location = /publish {{
                        nchan_publisher; nchan_channel_id peers; nchan_message_timeout 10s;
                    }}
                }}
            }}
        """)
        return ["-p", str(self.data), "-c", str(self.data / "nginx.conf")]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        return True


CONTESTANTS: Final[tuple[type[Contestant], ...]] = (
    Livestate, Nchan, SseStarlette, QuartGenerator, WebSocket, Polling,
)  # fmt: skip


async def steadily(contestant: Contestant, rate: float, seconds: float) -> tuple[bytes, int]:
    """Publish at a steady rate; the last stamp, and how many there were."""
    began, sent, mark = time.perf_counter(), 0, b""
    while sent < seconds * rate:
        mark = await contestant.publish()
        sent += 1
        await asyncio.sleep(max(0.0, began + sent / rate - time.perf_counter()))
    return mark, sent
