"""The JavaScript client library as its users get it: types checked, packed, installed, run."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.child_service import Instance
from tests.conftest import absent
from tests.harness import Node
from tests.unit.client.test_documents import ROOT, example

LIBRARY = ROOT / "clients" / "js"
QUIET = ("--no-audit", "--no-fund", "--no-package-lock")
TYPED = """import { LIVE_STATES, LiveCalls, type CallRecord, type Change } from "livestate-client";
import { Fold } from "livestate-client/fold.js";
const live = new LiveCalls("https://noc.example/api/v1/live/calls", {
  token: async () => "token",
  onChange(change: Change, calls: Map<string, CallRecord>) {
    if (change !== "all") for (const [key, record] of change.removed) {
      const outcome: string | undefined = change.ended[key]?.outcome;
      console.log(key, record.state === LIVE_STATES[0], outcome);
    }
  },
  onState: (state) => console.log(state === "signed out"),
});
const fold: Fold = live.fold;
// @ts-expect-error: there is no such state
console.log(live.state === "lively", fold.digest);
"""


def npm(program: Callable[[str], str], folder: Path, *arguments: str) -> str:
    done = subprocess.run([program("npm"), *arguments], cwd=folder, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def library(program: Callable[[str], str]) -> Path:
    """The library's folder with its development tools."""
    if not (LIBRARY / "node_modules" / "typescript").exists():
        command = [program("npm"), "install", *QUIET]
        if subprocess.run(command, cwd=LIBRARY, capture_output=True, check=False).returncode:
            absent("typescript of npm")
    return LIBRARY


@pytest.fixture(scope="module")
def installed(
    library: Path, program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder where the packed library is installed."""
    folder = tmp_path_factory.mktemp("user")
    npm(program, library, "pack", "--pack-destination", str(folder))
    (package,) = folder.glob("livestate-client-*.tgz")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm(program, folder, "install", *QUIET, package.name)
    return folder


def test_the_types_of_the_library_are_right(library: Path, program: Callable[[str], str]) -> None:
    npm(program, library, "run", "check")


def test_it_does_in_node_what_its_vectors_say(library: Path, program: Callable[[str], str]) -> None:
    npm(program, library, "test")


def test_its_types_are_those_that_a_user_expects(installed: Path, library: Path) -> None:
    (installed / "use.mts").write_text(TYPED)
    compiler = library / "node_modules" / ".bin" / "tsc"
    flags = ("--noEmit", "--strict", "--module", "nodenext", "--target", "es2022")
    done = subprocess.run([compiler, *flags, "use.mts"], cwd=installed, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout


async def test_the_example_shows_the_live_calls(
    installed: Path, service: Instance, node: Node, program: Callable[[str], str]
) -> None:
    (installed / "example.js").write_text(example("js"))
    await node.call("1.1", company_id=node.name)
    environment = os.environ | {
        "LIVESTATE_URL": service.url,
        "LIVESTATE_TOKEN": service.token("user", company_id=node.name),
    }
    process = await asyncio.create_subprocess_exec(
        program("node"), "example.js", cwd=installed, env=environment,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(30):
            while "live" not in lines:
                lines.append((await process.stdout.readline()).decode().strip())
                assert lines[-1], lines  # it ended
            await node.call("2.2", company_id=node.name)
            while "live: 2 live calls" not in lines:
                lines.append((await process.stdout.readline()).decode().strip())
                assert lines[-1], lines
    finally:
        process.kill()
        await process.wait()
    assert "connecting: 1 live calls" in lines
