"""What docs/clients.md shows works, and the packages' versions are one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tomllib
from pathlib import Path

from api.cli.child_service import Instance
from livestate.client import CONNECTION_STATES
from tests.harness import Node

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/clients.md").read_text()


def example(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert isinstance(found, str)
    return found


async def test_the_python_example_shows_the_live_calls(service: Instance, node: Node) -> None:
    await node.call("1.1", company_id=node.name)
    environment = os.environ | {
        "LIVESTATE_URL": service.url,
        "LIVESTATE_TOKEN": service.token("user", company_id=node.name),
        "PYTHONUNBUFFERED": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", example("python"), cwd=ROOT, env=environment,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    try:
        async with asyncio.timeout(30):
            # Stale, where nodes of other tests fell silent.
            while not {"heartbeat live 1 live calls", "heartbeat stale 1 live calls"} & set(lines):
                lines.append((await process.stdout.readline()).decode().strip())
                assert lines[-1], lines  # it ended
    finally:
        process.kill()
        await process.wait()
    assert "snapshot connecting 1 live calls" in lines


def test_the_page_names_every_state_of_a_connection() -> None:
    assert set(re.findall(r"^\| `([a-z ]+)` \|", PAGE, re.M)) == set(CONNECTION_STATES)


def test_both_packages_have_one_version() -> None:
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    javascript = json.loads((ROOT / "clients/js/package.json").read_text())["version"]
    assert javascript == python
