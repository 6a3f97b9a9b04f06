"""Requests from outside, through a Caddy: with the shipped file, and one that speaks HTTP/2."""

from __future__ import annotations

import asyncio
from pathlib import Path

from livestate.devtools.child_process import Server, free_port
from tests.abuse.raw import SNAPSHOT, Answer, ask, get
from tests.faults.caddy import CADDYFILE, Caddy

HOST = "127.0.0.1"


class Http2Caddy(Caddy):
    """The same with TLS, and so with HTTP/2."""

    def __init__(self, *upstreams: int) -> None:
        super().__init__(*upstreams)
        self.environment = {**self.environment, "LIVESTATE_HOST": self.url}
        # Its own port for plain HTTP, and no question to the system's store of certificates.
        own = f"{{\n\thttp_port {free_port()}\n\tskip_install_trust\n"
        self._file = Path(self._home.name) / "Caddyfile"
        self._file.write_text(CADDYFILE.read_text().replace("{\n", own, 1))

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def _config(self) -> tuple[str, str]:
        return "--config", str(self._file)

    async def until_certified(self) -> None:
        """Its certificate takes a moment."""
        async with asyncio.timeout(20):
            while (await self.answer_seconds())[0] != "2":
                await asyncio.sleep(0.1)

    async def answer_seconds(self, *headers: str) -> tuple[str, str, float]:
        """The version of HTTP, the status, and the time from the request to its answer, as curl
        sees them. (Python's own HTTP/2 client is quadratic in long headers itself.)"""
        asked = await asyncio.create_subprocess_exec(
            "curl", "-sk", "--http2", "-o", "/dev/null", *headers, f"{self.url}{SNAPSHOT}",
            "-w", "%{http_version} %{http_code} %{time_pretransfer} %{time_starttransfer}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, _ = await asked.communicate()
        version, status, sent, came = printed.decode().split()
        return version, status, float(came) - float(sent)


async def outside(
    server: Server, path: str, *headers: str, method: str = "GET", source: str = HOST
) -> Answer:
    return await ask(server.port, get(path, *headers, method=method, host=HOST), source=source)
