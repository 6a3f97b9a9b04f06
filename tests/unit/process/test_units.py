"""The systemd units that we ship: how closed they are, whether the service lives within them, and,
where systemd runs, a real boot."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.auth import demo_key
from api.cli.child_service import Instance
from livestate.devtools.child_process import free_port
from tests.conftest import World, absent
from tests.harness import Node, Stream

DEPLOY = Path(__file__).parents[3] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
HIGHEST_SCORE = 1.5  # of 10; what is left is the network, which they are for


def lines(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_as_closed_as_it_can_be(unit: Path) -> None:
    program = shutil.which("systemd-analyze") or absent("systemd-analyze")
    report = subprocess.run([program, "security", "--offline=yes", "--no-pager", str(unit)],
                          capture_output=True, text=True).stdout  # fmt: skip
    found = re.search(r"exposure level for \S+: ([\d.]+)", report)
    assert found is not None, report
    assert float(found[1]) <= HIGHEST_SCORE, report
    for limit in ("MemoryMax", "TasksMax", "LimitCORE"):
        assert lines(unit, limit), limit


def _named(sets: Iterator[str] | list[str]) -> set[str]:
    """The system calls of systemd's named sets."""
    program = shutil.which("systemd-analyze") or absent("systemd-analyze")
    allowed: set[str] = set()
    for one in sets:
        shown = subprocess.run([program, "syscall-filter", "--no-pager", one],
                               capture_output=True, text=True, check=True).stdout  # fmt: skip
        names = [line.strip() for line in shown.splitlines()[1:] if line.startswith("    ")]
        allowed |= {name for name in names if not name.startswith(("#", "@"))}
        allowed |= _named([name for name in names if name.startswith("@")])
    return allowed


async def test_the_service_needs_no_system_call_that_its_unit_forbids(
    world: World, tmp_path: Path
) -> None:
    """Traced from its start over calls, streams and a login to its end."""
    strace = shutil.which("strace") or absent("strace")
    unit = DEPLOY / "livestate.service"
    allowed, *denied = lines(unit, "SystemCallFilter")
    may = _named(allowed.split()) - _named(denied[0].removeprefix("~").split())
    service = world.service()
    trace = tmp_path / "trace"
    program = service.program

    class Traced(Instance):
        def _command(self) -> list[str]:
            return ["-f", "-qq", "-o", str(trace), program, "serve"]

        async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{self.admin_url}/statusz")).status_code == 200

    traced = Traced(world.keys, {name.removeprefix("LIVESTATE_"): value
                                 for name, value in service.environment.items()
                                 if name.startswith("LIVESTATE_")},
                    port=service.port, admin_port=service.admin_port)  # fmt: skip
    traced.program = strace
    async with traced, await Node.connect(world.nats.url) as node:
        await traced.until_ready(60)
        async with await Stream.open(traced.url, traced.token()) as stream:
            await node.call("1.1", company_id="101")
            await stream.until(lambda s: s.dashboard.calls, 20)
            async with httpx.AsyncClient(base_url=traced.url) as client:
                assert (await client.get("/live-calls")).status_code == 200
                login = {"Authorization": f"Bearer {traced.token()}"}
                assert (await client.delete("/api/v1/session", headers=login)).status_code == 204
                pid = (await client.get(f"{traced.admin_url}/statusz")).json()["pid"]
        os.kill(pid, signal.SIGTERM)  # strace would leave it behind
        async with asyncio.timeout(30):
            while traced.running:
                await asyncio.sleep(0.05)
    await service.close()
    text = trace.read_text(errors="replace")
    ran = text[text.index("execve(") :]
    used = set(re.findall(r"^\d+ +(\w+)\(", ran, re.MULTILINE))
    assert len(used) > 30
    assert used - may - {"execve"} == set()
    both = re.findall(r"(?:mmap|mprotect)\([^)]*PROT_WRITE\|PROT_EXEC[^)]*\)", ran)
    assert both == []  # MemoryDenyWriteExecute
    families = set(re.findall(r"\bsocket\((AF_\w+)", ran))
    assert families <= {*lines(unit, "RestrictAddressFamilies")[0].split(), "AF_NETLINK"}


async def test_the_unit_boots_where_systemd_runs(world: World, tmp_path: Path) -> None:
    if not Path("/run/systemd/system").is_dir() or os.geteuid() != 0:
        pytest.skip("systemd does not run here, or we may not ask it")
    name = f"livestate-test-{os.getpid()}"
    admin, public = free_port(), free_port()
    # Where a user of systemd's making can read it: this checkout may be in a home.
    settings = tmp_path / "livestate.env"
    jwks = demo_key.jwks(tmp_path)
    settings.write_text(
        f"LIVESTATE_BIND=127.0.0.1:{public}\nLIVESTATE_ADMIN_BIND=127.0.0.1:{admin}\n"
        f"LIVESTATE_NATS_URL={world.nats.url}\nLIVESTATE_REDIS_URL={world.redis.url}\n"
        "LIVESTATE_READY_SECONDS=1\n"
        f"LIVESTATE_JWT_JWKS=/run/credentials/{name}.service/jwks\n"
    )
    program = Path(sysconfig.get_path("scripts")) / "livestate"
    if not all(parent.stat().st_mode & 0o001 for parent in program.resolve().parents):
        pytest.skip("a user of systemd's making cannot reach this checkout")
    text = (DEPLOY / "livestate.service").read_text()
    text = text.replace("/etc/livestate.env", str(settings))
    text = text.replace("/opt/livestate/bin/livestate", str(program))
    text = text.replace("[Service]", f"[Service]\nLoadCredential=jwks:{jwks}\nProtectHome=no", 1)
    text = text.replace("\nProtectHome=yes", "")
    unit = Path(f"/run/systemd/system/{name}.service")
    unit.write_text(text)
    try:
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "start", name], check=True, timeout=60)
        async with httpx.AsyncClient() as client, asyncio.timeout(30):
            while (await client.get(f"http://127.0.0.1:{admin}/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        subprocess.run(["systemctl", "stop", name], check=True, timeout=30)
        shown = subprocess.run(["systemctl", "show", "-p", "Result", "--value", name],
                               capture_output=True, text=True).stdout  # fmt: skip
        assert shown.strip() == "success"
    finally:
        subprocess.run(["systemctl", "stop", name], check=False)
        unit.unlink(missing_ok=True)
        subprocess.run(["systemctl", "daemon-reload"], check=False)
