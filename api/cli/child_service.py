"""The service as a child process: for the demo, the tests and the benches."""

from __future__ import annotations

import asyncio
import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from api.auth import demo_key
from api.settings import PREFIX
from livestate.devtools.child_process import Server, free_port


class Instance(Server):
    """``livestate serve`` on ports of this machine. ``settings`` are variables without prefix:
    ``{"TICK_MS": "50"}``. Logins are the demo key's, from ``keys``."""

    name = "livestate"

    def __init__(
        self,
        keys: Path,
        settings: Mapping[str, str],
        *,
        port: int | None = None,
        admin_port: int | None = None,
    ) -> None:
        program = Path(sysconfig.get_path("scripts")) / "livestate"
        self.admin_port = admin_port or free_port()
        serves_clients = settings.get("ROLE") != "engine"
        super().__init__(str(program), port=port if serves_clients else self.admin_port)
        self.keys = keys
        inherited = {name: v for name, v in os.environ.items() if not name.startswith(PREFIX)}
        own = {
            "BIND": f"127.0.0.1:{self.port}",
            "ADMIN_BIND": f"127.0.0.1:{self.admin_port}",
            "JWT_JWKS": str(demo_key.jwks(keys).resolve()),
            "JWT_ISSUER": demo_key.ISSUER,
        }
        self.environment = inherited | {
            PREFIX + name: value for name, value in (own | dict(settings)).items()
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def token(self, role: str = "noc", **claims: Any) -> str:
        """A login to this instance."""
        return demo_key.mint(self.keys, role, **claims)

    async def until_ready(self, seconds: float = 15.0) -> None:
        """Wait until ``/readyz`` answers 200. Raises TimeoutError."""
        async with asyncio.timeout(seconds), httpx.AsyncClient() as client:
            while (await client.get(f"{self.admin_url}/readyz")).status_code != 200:
                await asyncio.sleep(0.05)

    async def until_connected(self, seconds: float = 15.0) -> None:
        """Wait until it is connected to NATS: events that are published earlier are lost to it.
        Raises TimeoutError."""
        async with asyncio.timeout(seconds), httpx.AsyncClient() as client:
            while not (await client.get(f"{self.admin_url}/statusz")).json()["nats"]["connected"]:
                await asyncio.sleep(0.05)

    def _command(self) -> list[str]:
        return ["serve"]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"{self.admin_url}/statusz")
            except httpx.HTTPError:
                return False
        return answer.status_code == 200 and answer.json().get("pid") == self.pid
