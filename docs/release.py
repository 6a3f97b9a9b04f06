"""``python -m docs.release``: writes what this version publishes into ``docs/released/``.

The maintainer runs it when a version is released, and commits the folder with the new version in
pyproject.toml. From then on ``tests/deploy/test_versioning.py`` holds the code against it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

import httpx

from api.cli.child_service import Instance
from api.openapi import document
from api.settings import Settings, variable
from docs.asyncapi import specification
from livestate.contract.events import contract_schema
from livestate.devtools.servers import NatsServer, Valkey

ROOT: Final = Path(__file__).parent.parent
RELEASED: Final = ROOT / "docs/released"


def version() -> str:
    """Of the code: pyproject.toml says it, and nothing else."""
    told: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return told


def settings() -> dict[str, Any]:
    """Each setting's variable and default."""
    return {variable(name): field.default for name, field in Settings.model_fields.items()}


def metrics(text: str) -> dict[str, dict[str, Any]]:
    """Each metric of a scrape: its type, and the labels that its samples have."""
    found = {
        name: {"type": kind, "labels": set()}
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)
    }
    for name, labels in re.findall(r"^(\w+)\{(.*)\} \S+$", text, re.M):
        family = name if name in found else name.removesuffix("_total")
        found[family]["labels"] |= set(re.findall(r'(\w+)="', labels))
    return {name: one | {"labels": sorted(one["labels"])} for name, one in found.items()}


async def scrape() -> str:
    """The metrics of a service that has just started, with real servers."""
    with tempfile.TemporaryDirectory() as keys:
        async with NatsServer() as nats, Valkey() as redis:
            own = {"NATS_URL": nats.url, "REDIS_URL": redis.url}
            async with Instance(Path(keys), own) as service, httpx.AsyncClient() as client:
                return (await client.get(f"{service.admin_url}/metrics")).text


def main() -> int:
    """Write the folder."""
    RELEASED.mkdir(exist_ok=True)
    pages: dict[str, Any] = {
        "contract.schema.json": contract_schema(), "openapi.json": document(),
        "wire.json": specification()["components"]["schemas"], "settings.json": settings(),
        "metrics.json": metrics(asyncio.run(scrape())), "version.json": {"version": version()},
    }  # fmt: skip
    for name, page in pages.items():
        (RELEASED / name).write_text(json.dumps(page, indent=1) + "\n")
        print(f"wrote docs/released/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
