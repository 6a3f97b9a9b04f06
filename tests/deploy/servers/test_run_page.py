"""``docs/run.md``: its commands are run, on a copy of the tree, with /opt and /etc of its own.

Every block of commands says how it is treated: ``<!-- run: … -->`` names a part that a test runs,
``<!-- not run -->`` needs the words *not run by a test* above it, for the reader.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from api.auth import demo_key
from livestate.devtools.child_process import free_port
from livestate.devtools.servers import NatsServer, Valkey

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/run.md").read_text()
BLOCK = re.compile(r"(?:<!-- (run: [\w-]+|not run) -->\n)?```sh\n(.*?)```", re.S)


class Machine(NamedTuple):
    """A directory that stands for the machine: its /opt and /etc, and the tree."""

    home: Path
    environment: dict[str, str]

    def run(self, commands: str) -> str:
        for path in ("/opt/", "/etc/"):
            commands = re.sub(rf"(?<![\w/]){path}", f"{self.home}{path}", commands)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=self.home / "tree",
            env=self.environment, capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def blocks(part: str) -> list[str]:
    found = [commands for marked, commands in BLOCK.findall(PAGE) if marked == f"run: {part}"]
    assert found, part
    return found


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    home = tmp_path_factory.mktemp("machine")
    for path in ("opt", "etc/redis", "etc/systemd/system", "tree"):
        (home / path).mkdir(parents=True)
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("tests/", "bench/")):
            (home / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, home / "tree" / name)
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("LIVESTATE_", "VIRTUAL_ENV"))}
    return Machine(home, kept)


def test_every_command_is_run_or_marked() -> None:
    for marked, commands in BLOCK.findall(PAGE):
        assert marked, f"neither run nor marked:\n{commands}"
    untested = " ".join(PAGE.split()).count("*not run by a test: needs")
    assert untested == sum(marked == "not run" for marked, _ in BLOCK.findall(PAGE))


async def test_the_way_on_a_virtual_machine(
    machine: Machine, program: Callable[[str], str]
) -> None:
    program("curl")
    for commands in blocks("vm"):
        machine.run(commands)
    etc, opt = machine.home / "etc", machine.home / "opt"
    nats_port, redis_port = free_port(), free_port()
    for name in ("nats_url", "streams_nats_url", "bridge_nats_url", "redis_url"):
        file = etc / "livestate" / name  # the page's ports may be taken on this machine
        file.chmod(0o644)
        text = file.read_text()
        file.write_text(text.replace(":4222", f":{nats_port}").replace(":6379", f":{redis_port}"))
    conf = etc / "nats-server.conf"
    conf.write_text(conf.read_text().replace("store_dir: /var/lib/nats, ", ""))
    nats = NatsServer(port=nats_port, arguments=("-c", str(conf)))
    nats.environment = machine.environment | {
        name: value.strip("'")
        for name, _, value in (
            line.partition("=") for line in (etc / "livestate/nats.env").read_text().splitlines()
        )
    }
    acl = (etc / "redis/livestate-acl.conf").read_text()
    rule = next(line for line in acl.splitlines() if line.startswith("user livestate"))
    async with nats, Valkey(port=redis_port, arguments=("--user", *rule.split()[1:])):
        output = await asyncio.to_thread(machine.run, blocks("vm-started")[0])
        assert "NATS" in output
        await _serve(machine, opt, etc)


async def _serve(machine: Machine, opt: Path, etc: Path) -> None:
    """The unit's ExecStart with its environment, as systemd would give it."""
    unit = (etc / "systemd/system/livestate.service").read_text()
    drop_in = (etc / "systemd/system/livestate.service.d/secrets.conf").read_text()
    command = re.findall(r"^ExecStart=(.*)$", unit, re.M)[0].replace("/opt", str(opt)).split()
    credentials = dict(re.findall(r"^LoadCredential=(\w+):(\S+)$", drop_in, re.M))
    given = re.findall(r"^Environment=(\w+)=%d/(\w+)$", drop_in, re.M)
    environment = machine.environment | {
        name: str(machine.home) + credentials[credential] for name, credential in given
    }
    for line in (etc / "livestate.env").read_text().splitlines():
        name, _, value = line.partition("=")
        environment[name] = value
    port, admin = free_port(), free_port()
    environment |= {
        "LIVESTATE_BIND": f"127.0.0.1:{port}", "LIVESTATE_ADMIN_BIND": f"127.0.0.1:{admin}",
        "LIVESTATE_JWT_JWKS": str(opt / "livestate/demo/demo-jwks.json"),
        "LIVESTATE_JWT_ISSUER": demo_key.ISSUER, "LIVESTATE_READY_SECONDS": "1",
    }  # fmt: skip
    service = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    asking = Machine(machine.home, environment)
    try:
        async with asyncio.timeout(30):
            while (
                service.poll() is None
                and subprocess.run(
                    [command[0], "healthcheck", "--ready"], env=environment, capture_output=True
                ).returncode
            ):
                await asyncio.sleep(0.2)
        assert service.poll() is None, service.stderr and service.stderr.read()
        output = ""
        for commands in blocks("vm-serving"):
            for was, now in ((":9090", f":{admin}"), (":8080", f":{port}")):
                commands = commands.replace(was, now)
            output += await asyncio.to_thread(asking.run, commands)
        token = (opt / "livestate/demo.token").read_text().strip()
        async with httpx.AsyncClient() as client:
            calls = await client.get(f"http://127.0.0.1:{port}/api/v1/live/calls/snapshot",
                                     headers={"Authorization": f"Bearer {token}"})  # fmt: skip
        assert calls.status_code == 200, calls.text
        assert output.startswith("ready\n")
        assert "\n200\n" in output
    finally:
        service.terminate()
        service.communicate(timeout=15)
    assert service.returncode == 0


def test_commands_that_are_run_again_change_nothing(machine: Machine) -> None:
    redis = machine.home / "etc/redis"
    before = redis / "redis.conf"
    before.write_text("# of the package\n")
    (configured,) = [one for one in blocks("vm") if "redis.conf" in one]
    secrets = next(one for one in blocks("vm") if "make-secrets" in one)
    for _ in range(2):
        machine.run(secrets)
        machine.run(configured)
    assert before.read_text().count("include ") == 1
    assert (redis / "livestate-acl.conf").read_text().count("user livestate") == 1


def test_the_way_in_compose(machine: Machine) -> None:
    for commands in blocks("compose"):
        machine.run(commands)
    secrets = machine.home / "tree/deploy/secrets"
    assert (secrets / "nats.env").is_file()
    assert "LIVESTATE_JWT_JWKS=" in (machine.home / "tree/deploy/.env").read_text()


def test_the_way_in_kubernetes(machine: Machine, program: Callable[[str], str]) -> None:
    program("kubectl")
    (output,) = [machine.run(commands) for commands in blocks("kubernetes")]
    assert "kind: Deployment" in output


def test_a_command_that_fails_is_found(machine: Machine) -> None:
    with pytest.raises(AssertionError):
        machine.run("deploy/make-secrets /opt/x && install deploy/none.conf /etc/none.conf")
