"""A real Prometheus that scrapes our services, every half second."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from livestate.devtools.child_process import Server

ROOT: Final = Path(__file__).parents[3]
SCRAPE: Final = "500ms"
# Waits and windows of the alerts, so that a test need not sit them out.
QUICK: Final = {"30s": "1s", "1m": "1s", "2m": "1s", "5m": "2s", "10m": "2s"}
WINDOWS: Final = {"1m": "3s", "2m": "6s", "5m": "6s", "10m": "6s", "15m": "12s", "1h": "30s"}


def quick_rules() -> str:
    """The shipped alerts with short waits and windows."""
    text = (ROOT / "deploy/prometheus/alerts.yaml").read_text()
    text = re.sub(r"for: (\w+)", lambda found: f"for: {QUICK[found[1]]}", text)
    # A service that is started three times on a busy machine takes half a minute.
    text = text.replace("start_time_seconds[15m]", "start_time_seconds[60s]")
    text = re.sub(r"offset 15m", "offset 12s", text)
    return re.sub(r"\[(\d+\w)\]", lambda found: f"[{WINDOWS.get(found[1], found[1])}]", text)


class Prometheus(Server):
    """Debian's ``prometheus`` with the shipped alerts made quick. ``targets``: the admin ports by
    job."""

    name = "prometheus"

    def __init__(self, targets: Mapping[str, Iterable[int]]) -> None:
        super().__init__(shutil.which("prometheus"))
        self._targets = {job: tuple(ports) for job, ports in targets.items()}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        (self.data / "alerts.yaml").write_text(quick_rules())
        configuration = {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE,
                       "evaluation_interval": SCRAPE},
            "rule_files": [str(self.data / "alerts.yaml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [
                    {"targets": [f"127.0.0.1:{port}" for port in ports]}
                ]}
                for job, ports in self._targets.items()
            ],
        }  # fmt: skip
        (self.data / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        return [f"--config.file={self.data}/prometheus.yaml", f"--storage.tsdb.path={self.data}/db",
                f"--web.listen-address=127.0.0.1:{self.port}"]  # fmt: skip

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"GET /-/ready HTTP/1.0\r\n\r\n")
        return b" 200 " in await reader.readline()

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query. Raises for one that Prometheus refuses."""
        answer = await self._ask("query", query=expression)
        result: list[dict[str, Any]] = answer["result"]
        return result

    async def firing(self) -> dict[str, list[dict[str, Any]]]:
        """The alerts that fire now, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in (await self._ask("alerts"))["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    async def _ask(self, path: str, **parameters: str) -> Any:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.url}/api/v1/{path}", params=parameters)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]
