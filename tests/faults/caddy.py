"""Caddy with the Caddyfile we ship, without TLS, before one or two instances."""

from __future__ import annotations

import asyncio
import os
import shutil
import sysconfig
from pathlib import Path

import httpx

from livestate.devtools.child_process import Server, free_port

CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"


class Caddy(Server):
    name = "caddy"

    def __init__(self, *upstreams: int) -> None:
        found = shutil.which("caddy") or shutil.which("caddy", path=sysconfig.get_path("scripts"))
        super().__init__(found)
        self.admin_port = free_port()
        self.environment = os.environ | {
            "LIVESTATE_HOST": self.url,
            "LIVESTATE_UPSTREAMS": " ".join(f"127.0.0.1:{port}" for port in upstreams),
            "CADDY_ADMIN": f"127.0.0.1:{self.admin_port}",
            "XDG_DATA_HOME": self._home.name,
            "XDG_CONFIG_HOME": self._home.name,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def reload(self) -> None:
        """``caddy reload``, as an operator runs it after an edit."""
        command = [self.program, *["reload", "--force", "--adapter", "caddyfile"], *self._config()]
        reloading = await asyncio.create_subprocess_exec(
            *command, env=self.environment, stderr=asyncio.subprocess.DEVNULL
        )
        assert await reloading.wait() == 0

    def _command(self) -> list[str]:
        return ["run", "--adapter", "caddyfile", *self._config()]

    def _config(self) -> tuple[str, str]:
        return "--config", str(CADDYFILE)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"http://127.0.0.1:{self.admin_port}/config/")
            except httpx.HTTPError:
                return False
        return answer.status_code == 200
