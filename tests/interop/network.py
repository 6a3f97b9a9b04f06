"""Between client and service: a network that can fail, and an nginx without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path
from typing import Self

import httpx

from livestate.devtools.child_process import Server, free_port

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian puts nginx


class Network:
    """A port whose connections go to ``target``, until they are cut; then none is accepted."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._refuses = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def restore(self) -> None:
        self._refuses = False
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """Take no more connections and no more requests; responses that have begun go on."""
        self._refuses = True
        if self._server is not None:
            self._server.close()
            self._server = None

    async def cut(self) -> None:
        """End all connections as a network does: with a reset."""
        await self.refuse()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        writers = {writer, upstream[1]}
        self._writers |= writers
        try:
            await asyncio.gather(
                self._requests(reader, upstream[1], writer), _copy(upstream[0], writer)
            )
        finally:
            self._writers -= writers
            for one in writers:
                one.close()

    async def _requests(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                if self._refuses:
                    upstream.transport.abort()
                    client.transport.abort()
                    return
                upstream.write(piece)
                await upstream.drain()
            upstream.write_eof()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


class Nginx(Server):
    """nginx as many run it: its own buffering is on, and the service says what not to buffer."""

    name = "nginx"

    def __init__(self, upstream: int) -> None:
        super().__init__(shutil.which("nginx") or shutil.which("nginx", path=_SBIN))
        self._upstream = upstream

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        user = "user root;" if os.geteuid() == 0 else ""  # its files are ours
        paths = "".join(
            f"{name}_temp_path {self.data}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.data.mkdir(exist_ok=True)
        (self.data / "nginx.conf").write_text(f"""
            daemon off; worker_processes 1; pid {self.data}/pid; {user} error_log stderr warn;
            events {{}}
            http {{
                access_log off; {paths}
                server {{
                    listen 127.0.0.1:{self.port};
                    location / {{
                        proxy_pass http://127.0.0.1:{self._upstream};
                        proxy_http_version 1.1;
                        proxy_set_header Host $http_host;
                        proxy_set_header Connection "";
                        proxy_read_timeout 1h;
                    }}
                }}
            }}
        """)
        return ["-p", str(self.data), "-c", str(Path(self.data) / "nginx.conf")]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with httpx.AsyncClient() as client:
            with contextlib.suppress(httpx.HTTPError):
                await client.get(f"{self.url}/")
                return True
        return False
